#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# install.sh install|uninstall|list
# Puts what make has built where it belongs, removes the same files again, or names them. The Makefile calls it with all
# that it needs in the environment: BUILD, VERSION, SOVERSION, PROGRAMS, LIBS, STATIC, and the directories DESTDIR,
# PREFIX, BINDIR, LIBDIR, INCLUDEDIR, DATADIR, MANDIR.
# entries() below is the one list of what there is; what others have not written yet is left out.
# Uninstalling leaves directories that may be somebody else's too, and removes those that are this program's alone.
set -eu

cd "$(dirname "$0")/.."
action=${1:-}
case $action in
install | uninstall | list) ;;
*)
    echo 'usage: install.sh install|uninstall|list' >&2
    exit 2
    ;;
esac
for directory in "$PREFIX" "$BINDIR" "$LIBDIR" "$INCLUDEDIR" "$DATADIR" "$MANDIR"; do
    case $directory in
    /*) ;;
    *)
        echo "install.sh: error: '$directory' is no absolute path" >&2
        exit 2
        ;;
    esac
done
# Whoever installs for all may have a umask for himself.
umask 022
doc=$DATADIR/doc/llavamed-apply
modules=$DATADIR/modulefiles/llavamed-apply

# file MODE SOURCE TARGET
file()
{
    case $action in
    install)
        mkdir -p "$DESTDIR$(dirname "$3")"
        install -m "$1" "$2" "$DESTDIR$3"
        ;;
    uninstall) rm -f "$DESTDIR$3" ;;
    esac
    printf '%s\n' "$DESTDIR$3"
}

# link TO TARGET: TO is a name in the directory of TARGET
link()
{
    case $action in
    install)
        mkdir -p "$DESTDIR$(dirname "$2")"
        ln -sf "$1" "$DESTDIR$2"
        ;;
    uninstall) rm -f "$DESTDIR$2" ;;
    esac
    printf '%s\n' "$DESTDIR$2"
}

# What sed takes for this very text in the place of @NAME@.
quoted()
{
    printf '%s\n' "$1" | sed 's/[\\|&]/\\&/g'
}

# A directory as pkg-config should tell of it: with a tree that was moved (--define-prefix) it moves.
below_prefix()
{
    # shellcheck disable=SC2016
    case $1 in
    "$PREFIX"/*) printf '${prefix}%s\n' "${1#"$PREFIX"}" ;;
    *) printf '%s\n' "$1" ;;
    esac
}

# filled SOURCE TARGET: with its @NAME@ replaced
filled()
{
    if [ "$action" = install ]; then
        mkdir -p "$DESTDIR$(dirname "$2")"
        rm -f "$DESTDIR$2"
        sed -e "s|@PREFIX@|$(quoted "$PREFIX")|g" -e "s|@BINDIR@|$(quoted "$BINDIR")|g" \
            -e "s|@LIBDIR@|$(quoted "$LIBDIR")|g" \
            -e "s|@PC_LIBDIR@|$(quoted "$(below_prefix "$LIBDIR")")|g" \
            -e "s|@PC_INCLUDEDIR@|$(quoted "$(below_prefix "$INCLUDEDIR")")|g" \
            -e "s|@VERSION@|$(quoted "$VERSION")|g" -e "s|@LIBS@|$(quoted "$LIBS")|g" "$1" >"$DESTDIR$2"
        chmod 644 "$DESTDIR$2"
    elif [ "$action" = uninstall ]; then
        rm -f "$DESTDIR$2"
    fi
    printf '%s\n' "$DESTDIR$2"
}

libraries()
{
    for header in include/*.h; do
        file 644 "$header" "$INCLUDEDIR/${header##*/}"
    done
    file 644 "$BUILD/libllavamed.a" "$LIBDIR/libllavamed.a"
    file 644 "$BUILD/libllavamed.so.$VERSION" "$LIBDIR/libllavamed.so.$VERSION"
    link "libllavamed.so.$VERSION" "$LIBDIR/libllavamed.so.$SOVERSION"
    link "libllavamed.so.$SOVERSION" "$LIBDIR/libllavamed.so"
    filled contrib/llavamed.pc.in "$LIBDIR/pkgconfig/llavamed.pc"
}

# completion SOURCE DIRECTORY SUFFIX: for all programs in one file, which is looked for by the name of each
completion()
{
    [ -f "contrib/completions/$1" ] || return 0
    first=${PROGRAMS%% *}
    for program in $PROGRAMS; do
        if [ "$program" = "$first" ]; then
            file 644 "contrib/completions/$1" "$DATADIR/$2/$program$3"
        else
            link "$first$3" "$DATADIR/$2/$program$3"
        fi
    done
}

completions()
{
    completion llavamed.bash bash-completion/completions ''
    completion llavamed.fish fish/vendor_completions.d .fish
    if [ -f contrib/completions/_llavamed ]; then
        file 644 contrib/completions/_llavamed "$DATADIR/zsh/site-functions/_llavamed"
    fi
}

# With the paths that they have in the source, so that links between them hold.
documents()
{
    for document in LICENSE NOTICE* README.md docs/*.md docs/examples/* contrib/slurm/*; do
        if [ -f "$document" ]; then
            file 644 "$document" "$doc/$document"
        fi
    done
}

entries()
{
    built=$BUILD${STATIC:+/static}
    for program in $PROGRAMS; do
        file 755 "$built/$program" "$BINDIR/$program"
    done
    [ -n "$STATIC" ] || libraries
    for page in docs/man/*.[1-8]; do
        if [ -f "$page" ]; then
            file 644 "$page" "$MANDIR/man${page##*.}/${page##*/}"
        fi
    done
    completions
    documents
    # Lmod takes the one, Environment Modules the other.
    filled contrib/modulefiles/llavamed-apply.lua "$modules/$VERSION.lua"
    filled contrib/modulefiles/llavamed-apply.tcl "$modules/$VERSION"
}

entries
if [ "$action" = uninstall ]; then
    for directory in "$doc/docs/examples" "$doc/docs" "$doc/contrib/slurm" "$doc/contrib" "$doc" "$modules"; do
        if [ -d "$DESTDIR$directory" ]; then
            rmdir "$DESTDIR$directory" 2>/dev/null || echo "install.sh: left, not empty: $DESTDIR$directory" >&2
        fi
    done
fi
