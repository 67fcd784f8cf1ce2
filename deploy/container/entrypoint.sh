#!/bin/sh
# Beam starts its workers with options alone; who starts anything else names a command.
case "${1:-}" in
    -*) exec /opt/apache/beam/boot "$@" ;;
esac
exec "$@"
