# Sourced by setup-test-tools.sh: Apache Kafka, which no Debian packages, as jars through
# Maven, and the Java to run them.
# shellcheck shell=bash

readonly KAFKA_VERSION=4.1.0
# What Kafka 4's broker asks for.
readonly JAVA_MIN=17
readonly KAFKA_DIR="$TOOLS/kafka"

# java_major: the major version of the Java on PATH, or 0.
java_major() {
    local version
    version=$(java -version 2>&1) || version=""
    [[ $version =~ version\ \"([0-9]+) ]] && echo "${BASH_REMATCH[1]}" || echo 0
}

setup_java() {
    command -v java >/dev/null || apt_install default-jre-headless
    [ "$(java_major)" -ge "$JAVA_MIN" ] || fail_skippable kafka \
        "Kafka $KAFKA_VERSION takes Java $JAVA_MIN or newer on PATH, and this is '$(java -version 2>&1 | head -n 1)'"
}

# Kafka, and something for it to log through: without, it would say nothing.
write_kafka_pom() {
    cat >"$KAFKA_DIR/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>stockroom</groupId>
  <artifactId>test-kafka</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId>
      <artifactId>kafka_2.13</artifactId>
      <version>$KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-simple</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
POM
}

# Fetches into a folder beside, so that `libs` is whole or is not there.
fetch_kafka() {
    command -v mvn >/dev/null || apt_install maven
    echo "fetching Apache Kafka $KAFKA_VERSION through Maven (45 MB, once)"
    mkdir -p "$KAFKA_DIR"
    rm -rf "$KAFKA_DIR/libs" "$KAFKA_DIR/libs.partial"
    write_kafka_pom
    mvn -q -B -f "$KAFKA_DIR/pom.xml" -Dstyle.color=never dependency:copy-dependencies \
        -DoutputDirectory="$KAFKA_DIR/libs.partial" </dev/null ||
        fail_skippable kafka "Maven could not fetch Apache Kafka $KAFKA_VERSION, see above"
    mv "$KAFKA_DIR/libs.partial" "$KAFKA_DIR/libs"
}

setup_kafka() {
    setup_java
    [ -e "$KAFKA_DIR/libs/kafka_2.13-$KAFKA_VERSION.jar" ] || fetch_kafka
    echo "Apache Kafka $KAFKA_VERSION at $KAFKA_DIR/libs, on Java $(java_major)"
    export_tool STOCKROOM_TEST_KAFKA_LIBS "$KAFKA_DIR/libs"
}
