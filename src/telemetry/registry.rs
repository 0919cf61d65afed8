//! The exporter of one server's metrics.
//!
//! Every metric is made here, before anybody counts, with its help text and its
//! unit: nothing looks a name up later, and a metric that has not happened yet
//! is read as 0 instead of being absent.

use metrics::{Key, Label, Level, Metadata, Recorder as _, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};

use super::instruments::{Counter, Gauge, Histogram};

/// Where metrics come from; the exporter makes no use of it.
const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);

/// What a histogram is. The exporter wants the buckets before anything else.
#[derive(Debug)]
pub(super) struct Distribution {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    pub(super) unit: Unit,
    /// The upper ends of the buckets, rising; one without end is added.
    pub(super) buckets: &'static [f64],
}

/// Label names and values.
pub(super) type Labels<'a> = &'a [(&'static str, &'a str)];

#[derive(Debug)]
pub(super) struct Registry {
    recorder: PrometheusRecorder,
    /// Each cell with the exporter's copy of it.
    counters: Vec<(Counter, metrics::Counter)>,
    /// … and how many of a cell's units make one of the metric's.
    gauges: Vec<(Gauge, f64, metrics::Gauge)>,
}

/// What a cell that is exported in seconds counts in.
const MICROSECONDS: f64 = 1e6;

impl Registry {
    /// A registry that makes `distributions` histograms, where the exporter
    /// would make summaries, which cannot be summed over instances.
    pub(super) fn new(distributions: &[&Distribution]) -> Self {
        let recorder = distributions
            .iter()
            .fold(PrometheusBuilder::new(), |builder, it| {
                let name = Matcher::Full(it.name.to_owned());
                let built = builder.set_buckets_for_metric(name, it.buckets);
                built.expect("no distribution is without buckets")
            })
            .build_recorder();
        Self {
            recorder,
            counters: Vec::new(),
            gauges: Vec::new(),
        }
    }

    /// A counter; its name ends in `_total`.
    pub(super) fn counter(&mut self, name: &'static str, help: &'static str) -> Counter {
        self.counter_of(name, &[], help)
    }

    /// A counter that shares its name with others, which have other labels.
    pub(super) fn counter_of(
        &mut self,
        name: &'static str,
        labels: Labels<'_>,
        help: &'static str,
    ) -> Counter {
        self.recorder
            .describe_counter(name.into(), Some(Unit::Count), help.into());
        let key = key(name, labels);
        let exported = self.recorder.register_counter(&key, &METADATA);
        let counter = Counter::default();
        self.counters.push((counter.clone(), exported));
        counter
    }

    /// A gauge of things that are counted.
    pub(super) fn gauge(&mut self, name: &'static str, help: &'static str) -> Gauge {
        self.gauge_of(name, &[], help)
    }

    /// … that shares its name with others, which have other labels.
    pub(super) fn gauge_of(
        &mut self,
        name: &'static str,
        labels: Labels<'_>,
        help: &'static str,
    ) -> Gauge {
        self.gauge_in(Unit::Count, 1.0, name, labels, help)
    }

    /// A gauge of a time: set in microseconds, exported in seconds.
    pub(super) fn time_gauge(
        &mut self,
        name: &'static str,
        labels: Labels<'_>,
        help: &'static str,
    ) -> Gauge {
        self.gauge_in(Unit::Seconds, MICROSECONDS, name, labels, help)
    }

    fn gauge_in(
        &mut self,
        unit: Unit,
        cells: f64,
        name: &'static str,
        labels: Labels<'_>,
        help: &'static str,
    ) -> Gauge {
        self.recorder
            .describe_gauge(name.into(), Some(unit), help.into());
        let exported = self.recorder.register_gauge(&key(name, labels), &METADATA);
        let gauge = Gauge::default();
        self.gauges.push((gauge.clone(), cells, exported));
        gauge
    }

    /// One of the distributions that the registry was made with.
    pub(super) fn histogram(&mut self, it: &Distribution) -> Histogram {
        self.recorder
            .describe_histogram(it.name.into(), Some(it.unit), it.help.into());
        let key = Key::from_name(it.name);
        Histogram(self.recorder.register_histogram(&key, &METADATA))
    }

    /// Everything in Prometheus' text format.
    pub(super) fn render(&self) -> String {
        for (counter, exported) in &self.counters {
            exported.absolute(counter.get());
        }
        for (gauge, cells, exported) in &self.gauges {
            exported.set(gauge.get() as f64 / cells);
        }
        self.recorder.handle().render()
    }

    /// Sorts the samples that came since the last time into their buckets, and
    /// frees their memory.
    pub(super) fn keep_up(&self) {
        self.recorder.handle().run_upkeep();
    }
}

fn key(name: &'static str, labels: Labels<'_>) -> Key {
    let labels = labels.iter();
    let labels = labels.map(|(label, value)| Label::new(*label, (*value).to_owned()));
    Key::from_parts(name, labels.collect::<Vec<_>>())
}
