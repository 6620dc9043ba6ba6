// Package images builds the images of the lab's registry from Debian packages and Kubernetes' own sources. The same inputs
// give the same bytes.
package images

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"vch-kubelet/tools/labd/internal/oci"
)

const (
	agnhostVersion = "2.63.0"
	pauseVersion   = "3.10.2"
	e2e            = "registry.k8s.io/e2e-test-images/"
	library        = "docker.io/library/"
)

// debianPackages are where the programs of images come from, besides those that are built.
var debianPackages = []string{"base-files", "bash", "bind9-dnsutils", "busybox-static", "curl", "iproute2", "libc6", "netcat-openbsd", "nginx", "stress", "util-linux"}

// Build makes the layout dir.
func Build(dir string, p Places, progress func(string)) error {
	progress("Debian packages")
	cached, err := downloadDir(p.Cache, "packages", debianPackages)
	if err != nil {
		return err
	}
	if err := fetchPackages(cached, debianPackages); err != nil {
		return err
	}
	packages, err := readPackages(cached)
	if err != nil {
		return err
	}
	progress("programs of Kubernetes' test images: agnhost takes a few minutes the first time")
	if err := buildPrograms(p); err != nil {
		return err
	}
	progress("layers")
	layout, err := oci.Create(dir)
	if err != nil {
		return err
	}
	r := recipes{builder: builder{layout: layout, packages: packages}, places: p}
	for _, step := range []func() error{r.prepare, r.busybox, r.testBusybox, r.base, r.pause, r.agnhost, r.nginx, r.small, r.helloWorld, r.layers} {
		if err := step(); err != nil {
			return err
		}
	}
	return layout.Close()
}

func buildPrograms(p Places) error {
	var names []string
	for _, name := range kubernetesPrograms {
		names = append(names, "k8s.io/kubernetes/"+name)
	}
	if err := buildGo(p.Kubernetes, p.Scratch, runtime.GOARCH, "-X main.Version="+agnhostVersion, names...); err != nil {
		return err
	}
	for _, arch := range helloArchitectures {
		if err := buildGo(p.Lab, filepath.Join(p.Scratch, arch), arch, "", "./internal/images/hello"); err != nil {
			return err
		}
	}
	source, err := downloadDir(p.Cache, "source", []string{"busybox"})
	if err != nil {
		return err
	}
	if err := fetchSource(source, filepath.Join(p.Tools, "lib", "mirror_entry.py"), "busybox"); err != nil {
		return err
	}
	if err := buildShell(source, filepath.Join(p.Scratch, "ash")); err != nil {
		return err
	}
	kubernetes, err := kubernetesDir(p.Kubernetes)
	if err != nil {
		return err
	}
	return buildPause(kubernetes, filepath.Join(p.Scratch, "pause"), pauseVersion)
}

// recipes make the images, in an order in which each finds the layers that it builds upon.
type recipes struct {
	builder
	places     Places
	kubernetes string   // Kubernetes' sources
	applets    []string // busybox's, with their directories: sbin/ip

	busyboxLayer, baseLayer, pauseLayer layer
	agnhostLayers                       []layer
	pauseImage                          oci.Descriptor
}

func (r *recipes) prepare() error {
	var err error
	if r.kubernetes, err = kubernetesDir(r.places.Kubernetes); err != nil {
		return err
	}
	busybox := filepath.Join(r.places.Scratch, "busybox")
	data, err := r.busyboxProgram()
	if err != nil {
		return err
	}
	if err := os.WriteFile(busybox, data, 0o755); err != nil {
		return err
	}
	list, err := output(busybox, "--list-full")
	r.applets = strings.Fields(string(list))
	return err
}

func (r *recipes) busyboxProgram() ([]byte, error) {
	const name = "usr/bin/busybox"
	f := r.packages.files[name]
	if f == nil {
		return nil, fmt.Errorf("Debian's busybox-static has no /%s", name)
	}
	return f.data, nil
}

// built is the file of a program that was built.
func (r *recipes) built(name string) string { return filepath.Join(r.places.Scratch, name) }

// versionTags are the tags that an image of a package has for its version: 1, 1.22 and 1.22.1.
func (r *recipes) versionTags(name string) []string {
	tags := []string{"latest", "stable"}
	elements := strings.Split(r.packages.versions[name], ".")
	for i := range elements {
		tags = append(tags, strings.Join(elements[:i+1], "."))
	}
	return tags
}

// etc is the configuration that programs expect to find.
func etc(t tree) {
	t.text("etc/passwd", `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/bin/false
bin:x:2:2:bin:/bin:/bin/false
sys:x:3:3:sys:/dev:/bin/false
mail:x:8:8:mail:/var/spool/mail:/bin/false
www-data:x:33:33:www-data:/var/www:/bin/false
nobody:x:65534:65534:nobody:/home:/bin/false
`)
	t.text("etc/group", "root:x:0:\ndaemon:x:1:\nbin:x:2:\nsys:x:3:\nadm:x:4:\ntty:x:5:\ndisk:x:6:\nmail:x:8:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n")
	t.file("etc/shadow", 0o600, []byte("root:*:::::::\nnobody:*:::::::\n"))
	t.text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
	t.dir(0o755, "dev", "proc", "sys", "home", "var", "usr/bin", "usr/sbin")
	t.dir(0o700, "root")
	t.dir(0o1777, "tmp")
}

// busybox has its applets as hard links in /bin, as Docker's image has them.
func (r *recipes) busybox() error {
	t := tree{}
	etc(t)
	t.dir(0o755, "bin", "home")
	data, err := r.busyboxProgram()
	if err != nil {
		return err
	}
	t.file("bin/busybox", 0o755, data)
	for _, applet := range r.applets {
		if name := "bin/" + filepath.Base(applet); t[name] == nil {
			t.hardlink(name, "bin/busybox")
		}
	}
	t.symlink("usr/bin/env", "../../bin/env")
	if r.busyboxLayer, err = r.layer(oci.LayerGzip, t); err != nil {
		return err
	}
	s := spec{layers: []layer{r.busyboxLayer}, docker: true, config: oci.RunConfig{Env: []string{defaultPath}, Cmd: []string{"sh"}}}
	if err := r.add(s, library+"busybox", r.versionTags("busybox-static")...); err != nil {
		return err
	}
	zipped, err := r.layer(oci.LayerZstd, t)
	if err != nil {
		return err
	}
	return r.add(spec{layers: []layer{zipped}, config: s.config}, "docker.io/lab/zstd", "latest")
}

// testBusybox is the busybox of Kubernetes' tests. Its shell was built for it: Debian's own drops variables whose names are no identifiers
// (data-1), which tests of ConfigMaps and Secrets have. bash would pass them on, but another test knows what ash says of a file that it
// cannot create.
func (r *recipes) testBusybox() error {
	t := tree{}
	if err := t.program("bin/sh", r.built("ash/busybox")); err != nil {
		return err
	}
	t.hardlink("bin/ash", "bin/sh")
	l, err := r.layer(oci.LayerGzip, t, r.busyboxLayer)
	if err != nil {
		return err
	}
	s := spec{layers: []layer{r.busyboxLayer, l}, config: oci.RunConfig{Env: []string{defaultPath}, Cmd: []string{"sh"}}}
	return r.add(s, e2e+"busybox", "1.37.0-1")
}

// base is under all images whose programs use shared libraries: Debian's C library, and busybox as the shell and tools.
func (r *recipes) base() error {
	t := tree{}
	etc(t)
	for _, link := range []string{"bin", "sbin", "lib", "lib64"} {
		t.symlink(link, "usr/"+link)
		t.dir(0o755, "usr/"+link)
	}
	t.dir(0o755, "etc", "opt", "run", "mnt", "media", "srv", "usr/local/bin", "usr/local/sbin", "usr/share", "var/cache", "var/lib", "var/log", "var/www")
	t.dir(0o1777, "var/tmp")
	t.symlink("var/run", "/run")
	if err := t.copy(r.packages.files, "usr/bin/busybox", "etc/os-release", "etc/debian_version"); err != nil {
		return err
	}
	for _, applet := range r.applets {
		name := merged(applet)
		if t[name] == nil && strings.HasPrefix(name, "usr/") {
			t.symlink(name, "/bin/busybox")
		}
	}
	for _, name := range []string{"libc.so.6", "libm.so.6", "libresolv.so.2"} {
		if err := t.copy(r.packages.files, "usr/lib/"+triplet()+"/"+name); err != nil {
			return err
		}
	}
	var err error
	r.baseLayer, err = r.layer(oci.LayerGzip, t)
	return err
}

func (r *recipes) pause() error {
	t := tree{}
	err := t.program("pause", r.built("pause"))
	if err != nil {
		return err
	}
	if r.pauseLayer, err = r.layer(oci.LayerGzip, t); err != nil {
		return err
	}
	image, err := r.image(spec{layers: []layer{r.pauseLayer},
		config: oci.RunConfig{User: "65535:65535", Env: []string{defaultPath}, Entrypoint: []string{"/pause"}, WorkingDir: "/"}})
	if err != nil {
		return err
	}
	if r.pauseImage, err = r.layout.AddDocument(oci.Index, oci.IndexDoc{SchemaVersion: 2, MediaType: oci.Index, Manifests: []oci.Descriptor{image}}); err != nil {
		return err
	}
	return r.tag(r.pauseImage, "registry.k8s.io/pause", pauseVersion, "latest")
}

// agnhost is as its Dockerfile says, on Debian instead of Alpine; without dig, iperf and CoreDNS.
func (r *recipes) agnhost() error {
	tools := tree{}
	err := tools.copy(r.packages.files, "usr/bin/bash", "usr/bin/curl", "usr/bin/nc.openbsd", "usr/bin/ip", "usr/sbin/ip", "usr/bin/ss",
		"usr/bin/nsenter", "usr/bin/unshare", "usr/bin/setpriv")
	if err != nil {
		return err
	}
	// Debian's busybox prefers its own applets to programs of the same name when it is the shell, so it is not here.
	tools.symlink("usr/bin/sh", "bash")
	tools.symlink("usr/bin/nc", "nc.openbsd")
	tools.text("etc/passwd", string(r.baseLayer.files["etc/passwd"].data)+"user-defined-in-image:x:1000:1000::/home/user-defined-in-image:/bin/sh\n")
	tools.text("etc/group", string(r.baseLayer.files["etc/group"].data)+"user-defined-in-image:x:1000:\ngroup-defined-in-image:x:50000:user-defined-in-image\n")
	const home = "home/user-defined-in-image"
	tools.dir(0o755, home)
	tools[home].Uid, tools[home].Gid = 1000, 1000
	toolsLayer, err := r.layer(oci.LayerGzip, tools, r.baseLayer)
	if err != nil {
		return err
	}

	t := tree{}
	if err := t.program("agnhost", r.built("agnhost")); err != nil {
		return err
	}
	t.symlink("agnhost-2", "agnhost")
	t.dir(0o755, "uploads")
	for _, name := range []string{"localhost.crt", "localhost.key"} {
		data, err := os.ReadFile(filepath.Join(r.kubernetes, "test/images/agnhost/porter", name))
		if err != nil {
			return err
		}
		t.file(name, 0o644, data)
	}
	if err := r.fakeRegistry(t); err != nil {
		return err
	}
	top, err := r.layer(oci.LayerGzip, t, r.baseLayer, toolsLayer)
	if err != nil {
		return err
	}
	r.agnhostLayers = []layer{r.baseLayer, toolsLayer, top}
	ports := map[string]struct{}{}
	for _, port := range []string{"80", "8080", "8081", "9376", "5000"} {
		ports[port+"/tcp"] = struct{}{}
	}
	s := spec{layers: r.agnhostLayers, config: oci.RunConfig{Env: []string{defaultPath}, ExposedPorts: ports,
		Entrypoint: []string{"/agnhost"}, Cmd: []string{"pause"}, WorkingDir: "/"}}
	// Tests replace one version by another, so both are there; the program is the same.
	for _, version := range []string{agnhostVersion, "2.55"} {
		s.config.Labels = map[string]string{"image_version": version}
		if err := r.add(s, e2e+"agnhost", version); err != nil {
			return err
		}
	}
	for _, name := range []string{"kitten", "nautilus"} {
		t := tree{}
		for _, file := range []string{name + ".jpg", "data.json"} {
			data, err := os.ReadFile(filepath.Join(r.kubernetes, "test/images", name, "html", file))
			if err != nil {
				return err
			}
			t.file(file, 0o644, data)
		}
		l, err := r.layer(oci.LayerGzip, t)
		if err != nil {
			return err
		}
		config := s.config
		config.Labels, config.Cmd = nil, []string{"test-webserver"}
		if err := r.add(spec{layers: append(slices.Clone(r.agnhostLayers), l), config: config}, e2e+name, "1.8"); err != nil {
			return err
		}
	}
	return nil
}

// fakeRegistry adds what `agnhost fake-registry-server` serves: the image pause as pause:testing.
func (r *recipes) fakeRegistry(t tree) error {
	const dir = "var/registry/pause/"
	add := func(kind, digest string) error {
		data, err := r.layout.Read(digest)
		hash := strings.TrimPrefix(digest, "sha256:")
		t.file(dir+kind+"/sha256/"+hash[:2]+"/"+hash+"/data", 0o644, data)
		return err
	}
	t.text(dir+"manifests/testing", r.pauseImage.Digest+"\n")
	if err := add("manifests", r.pauseImage.Digest); err != nil {
		return err
	}
	var index oci.IndexDoc
	if err := r.layout.Document(r.pauseImage.Digest, &index); err != nil {
		return err
	}
	for _, d := range index.Manifests {
		var manifest oci.ManifestDoc
		if err := r.layout.Document(d.Digest, &manifest); err != nil {
			return err
		}
		if err := add("manifests", d.Digest); err != nil {
			return err
		}
		for _, blob := range append(manifest.Layers, manifest.Config) {
			if err := add("blobs", blob.Digest); err != nil {
				return err
			}
		}
	}
	return nil
}

// nginx is Debian's, set up as Docker's image is: what is mounted there works here.
func (r *recipes) nginx() error {
	t := tree{}
	err := t.copy(r.packages.files, "usr/sbin/nginx", "etc/nginx/mime.types", "etc/nginx/fastcgi_params", "etc/nginx/uwsgi_params", "etc/nginx/scgi_params",
		"usr/share/nginx/html/index.html")
	if err != nil {
		return err
	}
	t.text("etc/passwd", string(r.baseLayer.files["etc/passwd"].data)+"nginx:x:101:101:nginx:/nonexistent:/bin/false\n")
	t.text("etc/group", string(r.baseLayer.files["etc/group"].data)+"nginx:x:101:\n")
	t.text("etc/nginx/nginx.conf", `user nginx;
worker_processes auto;
error_log /var/log/nginx/error.log notice;
pid /run/nginx.pid;

events {
    worker_connections 1024;
}

http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    log_format main '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for"';
    access_log /var/log/nginx/access.log main;
    sendfile on;
    keepalive_timeout 65;
    include /etc/nginx/conf.d/*.conf;
}
`)
	t.text("etc/nginx/conf.d/default.conf", `server {
    listen 80;
    listen [::]:80;
    server_name localhost;

    location / {
        root /usr/share/nginx/html;
        index index.html index.htm;
    }
    error_page 500 502 503 504 /50x.html;
    location = /50x.html {
        root /usr/share/nginx/html;
    }
}
`)
	t.text("usr/share/nginx/html/50x.html", "<!DOCTYPE html>\n<title>Error</title>\n<h1>An error occurred.</h1>\n")
	t.dir(0o755, "var/lib/nginx", "var/log/nginx")
	t.symlink("var/log/nginx/access.log", "/dev/stdout")
	t.symlink("var/log/nginx/error.log", "/dev/stderr")
	l, err := r.layer(oci.LayerGzip, t, r.baseLayer)
	if err != nil {
		return err
	}
	s := spec{layers: []layer{r.baseLayer, l}, config: oci.RunConfig{
		Env: []string{defaultPath, "NGINX_VERSION=" + r.packages.versions["nginx"]}, ExposedPorts: map[string]struct{}{"80/tcp": {}},
		Cmd: []string{"nginx", "-g", "daemon off;"}, StopSignal: "SIGQUIT",
	}}
	for _, version := range []string{"1.15-4", "1.27-0"} {
		s.config.Labels = map[string]string{"image_version": version}
		if err := r.add(s, e2e+"nginx", version); err != nil {
			return err
		}
	}
	s.config.Labels, s.docker = nil, true
	return r.add(s, library+"nginx", append(r.versionTags("nginx"), "mainline")...)
}

// small are test images of a single program, or none, upon the base.
func (r *recipes) small() error {
	for _, i := range []struct {
		name, version string
		built         map[string]string // path in the image: program
		packaged      []string
		config        oci.RunConfig
	}{
		{name: "nonewprivs", version: "1.4", built: map[string]string{"usr/local/bin/nnp": "nonewprivs"}, config: oci.RunConfig{Cmd: []string{"nnp"}}},
		{name: "nonroot", version: "1.5", config: oci.RunConfig{User: "1234", Cmd: []string{"sh"}}},
		{name: "ipc-utils", version: "1.4", packaged: []string{"usr/bin/ipcs", "usr/bin/ipcmk", "usr/bin/ipcrm"}, config: oci.RunConfig{Cmd: []string{"sh"}}},
		{name: "regression-issue-74839", version: "1.4", built: map[string]string{"regression-issue-74839": "regression-issue-74839"},
			config: oci.RunConfig{Entrypoint: []string{"/regression-issue-74839"}}},
		{name: "resource-consumer", version: "1.14", built: map[string]string{"consumer": "resource-consumer", "consume-cpu": "consume-cpu"}, packaged: []string{"usr/bin/stress"},
			config: oci.RunConfig{Entrypoint: []string{"/consumer"}, ExposedPorts: map[string]struct{}{"8080/tcp": {}}}},
		{name: "glibc-dns-testing", version: "2.0.0", packaged: []string{"usr/bin/dig", "usr/bin/nslookup", "usr/bin/bash"}, config: oci.RunConfig{Cmd: []string{"bash"}}},
	} {
		t := tree{}
		for name, program := range i.built {
			if err := t.program(name, r.built(program)); err != nil {
				return err
			}
		}
		if i.name == "nonewprivs" {
			t["usr/local/bin/nnp"].Mode = 0o6755
		}
		if err := t.copy(r.packages.files, i.packaged...); err != nil {
			return err
		}
		if t["usr/bin/bash"] != nil {
			t.symlink("usr/bin/sh", "bash")
		}
		layers := []layer{r.baseLayer}
		if len(t) != 0 {
			l, err := r.layer(oci.LayerGzip, t, r.baseLayer)
			if err != nil {
				return err
			}
			layers = append(layers, l)
		}
		i.config.Env = []string{defaultPath}
		if err := r.add(spec{layers: layers, config: i.config}, e2e+i.name, i.version); err != nil {
			return err
		}
	}
	return nil
}

// helloArchitectures are the platforms of hello-world.
var helloArchitectures = []string{"amd64", "arm64"}

// helloWorld is for several platforms, and arm64v8/hello-world for one of them only.
func (r *recipes) helloWorld() error {
	list := oci.IndexDoc{SchemaVersion: 2, MediaType: oci.DockerList}
	for _, arch := range helloArchitectures {
		t := tree{}
		if err := t.program("hello", r.built(arch+"/hello")); err != nil {
			return err
		}
		l, err := r.layer(oci.LayerGzip, t)
		if err != nil {
			return err
		}
		d, err := r.image(spec{layers: []layer{l}, arch: arch, docker: true, config: oci.RunConfig{Env: []string{defaultPath}, Cmd: []string{"/hello"}}})
		if err != nil {
			return err
		}
		list.Manifests = append(list.Manifests, d)
	}
	all, err := r.layout.AddDocument(oci.DockerList, list)
	if err != nil {
		return err
	}
	if err := r.tag(all, library+"hello-world", "latest", "linux"); err != nil {
		return err
	}
	list.Manifests = list.Manifests[1:]
	one, err := r.layout.AddDocument(oci.DockerList, list)
	if err != nil {
		return err
	}
	return r.tag(one, "docker.io/arm64v8/hello-world", "latest")
}
