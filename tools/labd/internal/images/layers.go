package images

import (
	"archive/tar"
	"strings"

	"vch-kubelet/tools/labd/internal/oci"
)

// layers makes docker.io/lab/layers, which has one of everything that can be difficult about layers, and a program that
// looks whether all came out right: it prints what is wrong and exits with 1.
func (r *recipes) layers() error {
	lower := tree{}
	lower.text("old/stays", "1\n")
	lower.text("old/goes", "1\n")
	lower.text("old/changes", "1\n")
	lower.text("gone/file", "1\n")
	lower.text("gone/deep/file", "1\n")
	lower.text("opaque/lower", "1\n")
	lower.text("opaque/both", "1\n")
	lower.text("becomes-dir", "1\n")
	lower.text("becomes-file/file", "1\n")
	lower.text("again", "1\n")
	lower.text("link/a", "linked\n")
	lower.hardlink("link/b", "link/a")
	lower.hardlink("link/c", "link/a")
	lower.symlink("symlink/relative", "../old/stays")
	lower.symlink("symlink/absolute", "/old/stays")
	lower.symlink("symlink/dangling", "/nowhere/at/all")
	lower.symlink("symlink/upwards", "../../../../old/stays")
	lower.file("mode/setuid", 0o4755, nil)
	lower.file("mode/setgid", 0o2755, nil)
	lower.file("mode/none", 0, nil)
	lower.dir(0o1777, "mode/sticky")
	lower.dir(0o2775, "mode/groupdir")
	lower.text("owner/file", "").Uid = 1234
	lower["owner/file"].Gid = 5678
	lower.text("owner/large", "").Uid = 2000000000
	lower["owner/large"].Gid = 2000000001
	lower.text("name/"+strings.Repeat("long", 55), "long\n")
	lower.text("name/Grüße aus München", "umlaut\n")
	lower.text("name/ two  blanks ", "blanks\n")
	lower.text("name/"+strings.Repeat("deep/", 60)+"file", "deep\n")
	lower["special/null"] = &file{Header: tar.Header{Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666}}
	lower["special/fifo"] = &file{Header: tar.Header{Typeflag: tar.TypeFifo, Mode: 0o600}}
	busybox, err := r.busyboxProgram()
	if err != nil {
		return err
	}
	capable := lower.file("busybox-capable", 0o755, busybox) // cap_net_bind_service, permitted and effective
	capable.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x04" + strings.Repeat("\x00", 14)}

	middle := tree{}
	middle.text("old/.wh.goes", "")
	middle.text("old/changes", "2\n")
	middle.text(".wh.gone", "")
	middle.text("opaque/.wh..wh..opq", "")
	middle.text("opaque/upper", "2\n")
	middle.text("opaque/both", "2\n")
	middle.text("becomes-dir/file", "2\n")
	middle.text("becomes-file", "2\n")
	middle.text(".wh.again", "")
	middle.text("link/b", "changed\n")
	middle.text("link/.wh.c", "")
	middle.dir(0o700, "mode/sticky") // a directory that is there already gets the new mode

	upper := tree{}
	upper.text("again", "3\n")
	upper.text("gone/new", "3\n")
	upper.text("opaque/top", "3\n")
	upper.file("check", 0o755, []byte(layersCheck))

	layers := []layer{r.busyboxLayer}
	for _, l := range []struct {
		mediaType string
		files     tree
	}{{oci.LayerGzip, lower}, {oci.LayerZstd, middle}, {oci.Layer, upper}} {
		made, err := r.layer(l.mediaType, l.files, layers...)
		if err != nil {
			return err
		}
		layers = append(layers, made)
	}
	return r.add(spec{layers: layers, config: oci.RunConfig{Env: []string{defaultPath}, Cmd: []string{"/check"}}}, "docker.io/lab/layers", "latest")
}

const layersCheck = `#!/bin/sh
# Looks whether the layers of this image were put together as the image specification says.
wrong=0
is() { # WHAT WANTED COMMAND...
  what=$1 wanted=$2; shift 2
  got=$("$@" 2>&1)
  [ "$got" = "$wanted" ] || { echo "$what: '$got' instead of '$wanted'"; wrong=1; }
}
is "untouched file" 1 cat /old/stays
is "removed file" "changes stays" sh -c 'echo $(ls /old)'
is "changed file" 2 cat /old/changes
is "removed directory that came back" new ls /gone
is "opaque directory" "both top upper" sh -c 'echo $(ls /opaque)'
is "file in both layers of an opaque directory" 2 cat /opaque/both
is "file that became a directory" 2 cat /becomes-dir/file
is "directory that became a file" 2 cat /becomes-file
is "file that came back" 3 cat /again
is "hard link whose other name changed" linked cat /link/a
is "hard link that changed" changed cat /link/b
is "hard link that was removed" "a b" sh -c 'echo $(ls /link)'
is "hard links" "$(stat -c %i /bin/sh)" stat -c %i /bin/busybox
is "relative symbolic link" 1 cat /symlink/relative
is "absolute symbolic link" 1 cat /symlink/absolute
is "symbolic link above the root" 1 cat /symlink/upwards
is "dangling symbolic link" /nowhere/at/all readlink /symlink/dangling
is "setuid" 4755 stat -c %a /mode/setuid
is "setgid" 2755 stat -c %a /mode/setgid
is "no mode" 0 stat -c %a /mode/none
is "directory whose mode changed" 700 stat -c %a /mode/sticky
is "setgid directory" 2775 stat -c %a /mode/groupdir
is "sticky directory" 1777 stat -c %a /tmp
is "owner" 1234:5678 stat -c %u:%g /owner/file
is "large owner" 2000000000:2000000001 stat -c %u:%g /owner/large
is "long name" long sh -c 'cat /name/longlong*'
is "umlauts" umlaut cat "/name/Grüße aus München"
is "blanks" blanks cat "/name/ two  blanks "
is "deep path" deep sh -c 'cat $(find /name/deep -type f)'
is "device" "character special file 1,3" stat -c '%F %t,%T' /special/null
is "fifo" fifo stat -c %F /special/fifo
is "leftover whiteouts" "" find / -xdev -name '.wh.*'
is "time" 1767225600 stat -c %Y /old/stays
is "file capability" "0000000000000400" su -s /bin/sh nobody -c '/busybox-capable awk "/CapEff/ { print \$2 }" /proc/self/status'
[ $wrong = 0 ] && echo "layers: all is well"
exit $wrong
`
