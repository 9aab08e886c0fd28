#!/bin/sh
# Makes the folder that the controller's image is built from:
#
#   make.sh PROGRAM FOLDER
#
# PROGRAM is a `portolan`, as `cargo build --release -p portolan-cli --no-default-features --features kubernetes` makes it.
# FOLDER must not exist yet, or be empty.
set -eu

[ $# = 2 ] || { echo "usage: make.sh PROGRAM FOLDER" >&2; exit 64; }
program=$1 folder=$2 here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$folder/rootfs"
cp "$here/Dockerfile" "$folder/"
cp "$program" "$folder/rootfs/portolan"
strip --strip-debug "$folder/rootfs/portolan"

# Each library where the program looks for it; the loader stands in the line without an arrow.
ldd "$program" | sed -n 's/^\t\(.* => \)\{0,1\}\(\/[^ ]*\) (.*/\2/p' | while read -r library; do
    mkdir -p "$folder/rootfs$(dirname "$library")"
    cp -L "$library" "$folder/rootfs$library"
done

# By which a registry or another cluster is believed.
for certificates in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
    if [ -f "$certificates" ]; then
        mkdir -p "$folder/rootfs/etc/ssl/certs"
        cp -L "$certificates" "$folder/rootfs/etc/ssl/certs/ca-certificates.crt"
        break
    fi
done
