# Shared by tools/demo, tools/test and tools/bench: compiler, cache and build directories. Source it from the root of the tree.
export CXX=${CXX:-clang++-19} CXX_LD=${CXX_LD:-lld-19}
if command -v ccache >/dev/null; then
  case $CXX in ccache*) ;; *) CXX="ccache $CXX" ;; esac
  export CCACHE_SLOPPINESS=pch_defines,time_macros
fi

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

# configure DIR OPTIONS...: makes the build directory if it is not there yet.
configure() {
  local dir=$1; shift
  [ -f "$dir/build.ninja" ] || { say "configuring $dir"; meson setup "$dir" "$@" >"$dir.log" 2>&1 || { cat "$dir.log" >&2; exit 1; }; rm -f "$dir.log"; }
}

# compile DIR TARGETS...: ninja with its progress line; where no terminal shows it, one line in fifty.
compile() {
  local dir=$1; shift
  if [ -t 1 ]; then
    ninja -C "$dir" "$@"
  else
    ninja -C "$dir" "$@" 2>&1 | awk '/^\[[0-9]+\/[0-9]+\] (Compiling|Linking|Generating)/ { if (NR % 50 == 1) { print; fflush() } next } { print; fflush() }'
  fi
}
