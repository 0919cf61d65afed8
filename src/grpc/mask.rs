//! Field masks of reads: which fields of a resource an answer has
//! (<https://google.aip.dev/157>).
//!
//! A mask names whole fields of the resource, `lines` and not `lines.sku`. Which ones an
//! answer has is no part of what a list shows, so page tokens do not depend on it.

use prost_types::FieldMask;

use super::convert::Fields;
use crate::proto;

/// Most paths of a mask: more than twice what the largest resource has fields.
const PATHS_MAX: usize = 32;

/// Bytes of an unknown path that are shown.
const SHOWN_BYTES_MAX: usize = 64;

/// Means every field.
const EVERY_FIELD: &str = "*";

/// A field of a resource: its name, and what leaves it out.
type Field<R> = (&'static str, fn(&mut R));

/// A resource whose fields can be asked for one by one.
pub(super) trait Resource: Sized + 'static {
    /// Its name for people.
    const NAME: &'static str;

    /// All of its fields, in the order of the proto. At most 32.
    const FIELDS: &'static [Field<Self>];
}

macro_rules! resources {
    ($($message:ident { $($field:ident),+ $(,)? })+) => {$(
        impl Resource for proto::$message {
            const NAME: &'static str = stringify!($message);
            const FIELDS: &'static [Field<Self>] =
                &[$((stringify!($field), |it| it.$field = Default::default())),+];
        }
    )+};
}

resources! {
    Order {
        order_id, request_id, state, lines, customer_ref, labels, create_time, update_time,
        version, expire_time, cancel_reason,
    }
    Movement {
        sku, location, version, kind, on_hand_delta, reserved_delta, on_hand, reserved,
        create_time, order_id, request_id, note, counterpart,
    }
}

/// Which fields of a resource an answer has.
pub(super) struct Mask<R> {
    /// A bit for each of [`Resource::FIELDS`].
    kept: u32,
    resource: std::marker::PhantomData<R>,
}

impl<R: Resource> Mask<R> {
    /// Checks the `read_mask` of a request. Without one, or with an empty one, every field
    /// is asked for.
    pub(super) fn parse(fields: &mut Fields, asked: Option<&FieldMask>) -> Self {
        let paths = asked.map_or(&[][..], |mask| &mask.paths);
        if paths.len() > PATHS_MAX {
            let given = paths.len();
            let description = format!("must have at most {PATHS_MAX} paths, has {given}");
            fields.refuse("read_mask", description);
        }
        let mut kept = if paths.is_empty() { u32::MAX } else { 0 };
        for path in paths.iter().take(PATHS_MAX) {
            match R::FIELDS.iter().position(|(name, _)| name == path) {
                Some(place) => kept |= 1 << place,
                None if path == EVERY_FIELD => kept = u32::MAX,
                None => fields.refuse("read_mask", no_field::<R>(path)),
            }
        }
        Self {
            kept,
            resource: std::marker::PhantomData,
        }
    }

    /// Whether this field is asked for.
    pub(super) fn has(&self, field: &str) -> bool {
        let place = R::FIELDS.iter().position(|(name, _)| *name == field);
        place.is_some_and(|place| self.kept & (1 << place) != 0)
    }

    /// The resource without the fields that nobody asked for.
    pub(super) fn of(&self, resource: impl Into<R>) -> R {
        let mut resource = resource.into();
        if self.kept != u32::MAX {
            for (place, (_, leave_out)) in R::FIELDS.iter().enumerate() {
                if self.kept & (1 << place) == 0 {
                    leave_out(&mut resource);
                }
            }
        }
        resource
    }
}

fn no_field<R: Resource>(path: &str) -> String {
    let mut shown = path;
    if path.len() > SHOWN_BYTES_MAX {
        shown = &path[..path.floor_char_boundary(SHOWN_BYTES_MAX)];
    }
    format!(
        "must name whole fields of {}, or \"*\", has {shown:?}",
        R::NAME
    )
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use prost_types::FileDescriptorSet;

    use super::*;

    /// The names of a message's fields, as the proto has them.
    fn in_proto(message: &str) -> Vec<String> {
        let set = FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut messages = set.file.into_iter().flat_map(|file| file.message_type);
        let message = messages.find(|it| it.name() == message).unwrap();
        let mut fields = message.field;
        fields.sort_by_key(prost_types::FieldDescriptorProto::number);
        fields.iter().map(|it| it.name().to_owned()).collect()
    }

    fn names_every_field<R: Resource>() {
        let names: Vec<_> = R::FIELDS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, in_proto(R::NAME));
        assert!(names.len() * 2 < PATHS_MAX && names.len() <= u32::BITS as usize);
    }

    #[test]
    fn every_field_of_a_resource_can_be_asked_for() {
        names_every_field::<proto::Order>();
        names_every_field::<proto::Movement>();
    }

    #[test]
    fn what_is_kept_is_what_was_asked_for() {
        let movement = proto::Movement {
            sku: "a".to_owned(),
            location: "main".to_owned(),
            version: 3,
            on_hand: 7,
            note: "fell".to_owned(),
            ..proto::Movement::default()
        };
        let kept = |paths: &[&str]| {
            let paths = paths.iter().map(|&path| path.to_owned()).collect();
            let mut fields = Fields::default();
            let mask = Mask::<proto::Movement>::parse(&mut fields, Some(&FieldMask { paths }));
            fields.finish(Some(mask.of(movement.clone()))).unwrap()
        };
        for all in [&[][..], &["*"], &["note", "*"]] {
            assert_eq!(kept(all), movement);
        }
        let some = proto::Movement {
            version: 3,
            note: "fell".to_owned(),
            ..proto::Movement::default()
        };
        assert_eq!(kept(&["note", "version", "note", "counterpart"]), some);
    }
}
