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
  [ -f "$dir/build.ninja" ] || { say "configuring $dir"; meson setup "$dir" "$@" >"$dir.log" 2>&1 || { cat "$dir.log" >&2; return 1; }; rm -f "$dir.log"; }
}

# compile DIR TARGETS...: ninja with its progress line; where no terminal shows it, one line in half a minute.
compile() {
  local dir=$1; shift
  if [ -t 1 ]; then
    ninja -C "$dir" "$@"
  else
    ninja -C "$dir" "$@" 2>&1 | {
      local line told=-30
      while IFS= read -r line; do
        case $line in
          '['*'] '[CLG]*) # Compiling, Linking, Generating
            [ $((SECONDS - told)) -ge 30 ] || continue
            told=$SECONDS
            ;;
        esac
        printf '%s\n' "$line"
      done
    }
  fi
}

# telling WHAT LOG COMMAND...: the command; every half minute a line tells that it goes on, with the last line of LOG, which somebody
# else may write.
telling() {
  local what=$1 log=$2 began=$SECONDS ticker status=0; shift 2
  # The sleep must not hold a pipe that a reader of our output waits for.
  while sleep 30 </dev/null >/dev/null 2>&1 && kill -0 $$ 2>/dev/null; do
    say "$what, for $((SECONDS - began)) s: $(tail -n 1 "$log" 2>/dev/null | cut -c 1-120)"
  done &
  ticker=$!
  "$@" || status=$?
  kill "$ticker" 2>/dev/null
  wait "$ticker" 2>/dev/null || true
  return "$status"
}
