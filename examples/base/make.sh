#!/bin/sh
# Makes the root file system of a small base image from this machine's own shell, compiler and C library:
#
#   make.sh DIR
#   portolan image import --name portolan.local/base:latest DIR
#
# The image holds what a `RUN gcc -static ...` needs and little more, so that a build needs no registry. The headers
# are those of C and POSIX with all that they include; programs bring the shared libraries that they ask for.
# DIR must not exist yet, or be empty.
set -eu

PROGRAMS="sh cat chmod cp env install ln ls mkdir mv rm"
HEADERS="assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign stdarg
    stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar wchar wctype
    aio arpa/inet dirent dlfcn endian err fcntl fnmatch ftw getopt glob grp iconv ifaddrs langinfo libgen malloc mntent
    net/if netdb netinet/in netinet/tcp netinet/udp paths poll pthread pty pwd regex sched search semaphore spawn
    strings syslog termios ucontext unistd utime utmp wait wordexp
    sys/auxv sys/epoll sys/eventfd sys/file sys/inotify sys/ioctl sys/ipc sys/mman sys/mount sys/msg sys/param
    sys/prctl sys/random sys/resource sys/select sys/sem sys/sendfile sys/shm sys/signalfd sys/socket sys/stat
    sys/statvfs sys/syscall sys/sysinfo sys/sysmacros sys/time sys/timerfd sys/times sys/types sys/uio sys/un
    sys/utsname sys/vfs sys/wait sys/xattr linux/limits linux/types"
# Linked into every static program, then what one may ask for by -l.
OBJECTS="crt1.o crti.o crtn.o crtbeginT.o crtend.o libgcc.a libgcc_eh.a libc.a"
LIBRARIES="libm.a libpthread.a libdl.a librt.a libutil.a libatomic.a"

fail() {
    echo "make.sh: $*" >&2
    exit 1
}

need() {
    command -v "$1" >/dev/null 2>&1 || fail "this machine has no $1; on Debian: apt-get install $2"
}

# Copies a file to the same place below $root, with the links that lead to it.
add() {
    file=$1
    while :; do
        folder=$(cd "$(dirname "$file")" && pwd -P)
        file=$folder/$(basename "$file")
        [ -e "$root$file" ] || [ -L "$root$file" ] || {
            mkdir -p "$root$folder"
            cp -pP "$file" "$root$file"
        }
        [ -L "$file" ] || break
        target=$(readlink "$file")
        case $target in
            /*) file=$target ;;
            *) file=$folder/$target ;;
        esac
    done
}

# Copies a program and the shared libraries that it asks for. A library is asked for by a path that may pass through
# a link such as /lib64; the links of the root directory are made first, so the real place is enough.
add_program() {
    add "$1"
    ldd "$1" 2>/dev/null | while read -r name arrow path _; do
        case $name:$arrow:$path in
            *:=\>:/*) add "$path" ;;
            /*) add "$name" ;;
        esac
    done
}

# A file that the compiler knows by name only; it answers with the bare name when it has none.
compiler_file() {
    found=$(gcc -print-file-name="$1")
    case $found in
        /*) echo "$found" ;;
        *) return 1 ;;
    esac
}

[ $# -eq 1 ] || fail "usage: make.sh DIR"
need gcc gcc
need ldd libc-bin
case $1 in
    /*) root=$1 ;;
    *) root=$(pwd)/$1 ;;
esac
if [ -e "$root" ] && [ -n "$(ls -A "$root" 2>/dev/null)" ]; then
    fail "$1 is there already and not empty"
fi
mkdir -p "$root"
umask 022

# The layout of the root directory is this machine's: /bin and /lib are links on most.
for name in bin sbin lib lib32 lib64 libx32; do
    [ -L "/$name" ] || continue
    target=$(readlink "/$name")
    mkdir -p "$root/${target#/}"
    ln -s "$target" "$root/$name"
done
mkdir -p "$root/etc" "$root/tmp" "$root/root"
chmod 1777 "$root/tmp"
chmod 700 "$root/root"
echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
echo 'root:x:0:' >"$root/etc/group"

for name in $PROGRAMS; do
    need "$name" coreutils
    add_program "$(command -v "$name")"
done
[ -e "$root/bin/sh" ] || fail "the shell is not at /bin/sh on this machine"

add_program "$(command -v gcc)"
for name in cc1 collect2 as ld; do
    program=$(gcc -print-prog-name="$name")
    case $program in
        /*) ;;
        *) program=$(command -v "$program") || fail "gcc has no $name; on Debian: apt-get install gcc binutils" ;;
    esac
    add_program "$program"
done
# The linker is told to load this, whether or not anything is optimised at link time.
for name in liblto_plugin.so; do
    if plugin=$(compiler_file "$name"); then add_program "$plugin"; fi
done

for name in $OBJECTS; do
    path=$(compiler_file "$name") || fail "gcc has no $name; on Debian: apt-get install libc6-dev"
    add "$path"
done
for name in $LIBRARIES; do
    path=$(compiler_file "$name") || continue
    add "$path"
    # Some archives are a few lines of text that name the real ones.
    if [ "$(head -c 7 "$path")" != '!<arch>' ]; then
        for part in $(tr '() ' '\n\n\n' <"$path"); do
            case $part in
                /*.a) add "$part" ;;
            esac
        done
    fi
done

# Every header that this machine has of those above, with all that it includes. What it includes depends on flags and
# macros, so the C library's own folder of parts is taken as a whole.
all_headers() {
    for name in $HEADERS; do
        printf '#if __has_include(<%s.h>)\n#include <%s.h>\n#endif\n' "$name" "$name"
    done
}
{ all_headers | gcc -M -x c - && all_headers | gcc -O2 -D_GNU_SOURCE -M -x c -; } 2>/dev/null |
    tr ' \\' '\n\n' | grep '^/' | sort -u >"$root/tmp/headers"
parts=$(sed -n 's,/bits/types.h$,/bits,p' "$root/tmp/headers")
find $parts -name '*.h' >>"$root/tmp/headers"
while read -r header; do
    add "$header"
done <"$root/tmp/headers"
rm "$root/tmp/headers"
[ -e "$root/usr/include/stdio.h" ] || fail "there is no stdio.h; on Debian: apt-get install libc6-dev"

echo "made $1; import it with: portolan image import --name portolan.local/base:latest $1"
