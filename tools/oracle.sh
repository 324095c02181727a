#!/bin/sh
# Installs the JavaScript reference of JSONata, which the differential fuzz and the benchmark compare with.
# It goes to build/oracle; nothing of it is part of Dovetail. Needs node and npm.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
to="$root/build/oracle"
want=2.2.2
have=$(sed -n 's/.*"version": *"\([^"]*\)".*/\1/p' "$to/node_modules/jsonata/package.json" 2>/dev/null | head -1 || true)
[ "$have" = "$want" ] && exit 0
mkdir -p "$to"
cd "$to"
[ -f package.json ] || echo '{"private": true}' > package.json
npm install --silent --no-audit --no-fund --save-exact "jsonata@$want"
