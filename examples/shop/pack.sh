#!/bin/sh
# pack.sh RELEASE [DIRECTORY] builds shop-RELEASE.tar.gz in DIRECTORY, or dist.
#
# A shop of yours is built from the tag of its release. So that one tree can show
# an upgrade, this one can be built as 1.0 and as 1.1.
set -eu
release=$1 to=${2:-dist}
mkdir -p "$to"
to=$(cd "$to" && pwd)
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
# Without cgo the program stands on nothing that a node may lack.
CGO_ENABLED=0 go build -ldflags "-X main.release=$release" -o "$work/bin/shop" ./cmd/shop
cp shop.conf.in "$work"
tar -czf "$to/shop-$release.tar.gz" -C "$work" bin shop.conf.in
