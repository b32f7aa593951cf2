#!/bin/sh
# MariaDB Connector/J (Debian's libmariadb-java): builds the one class, and runs it.
set -eu
jar=/usr/share/java/mariadb-java-client.jar
[ -e "$jar" ] || jar=$CLIENTS_HOME/mariadb-java-client.jar
exec java -cp "$jar" Cases.java
