package qemu

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"

	"vch-kubelet/tools/labd/internal/guestline"
)

// Descriptors that QEMU inherits; those of network cards follow.
const (
	fdMonitor = 3 + iota
	fdPort
	fdFirstNic
)

// PortName is the virtio-serial port on which guest and vCenter speak.
const PortName = "vch.guest.0"

// vm is what the command line of a VM depends on.
type vm struct {
	guestline.Message
	accel   string
	console string // file that takes what comes out of the serial port
	dir     string // of its own
}

// escape makes a file name safe in an option with commas.
func escape(file string) string { return strings.ReplaceAll(file, ",", ",,") }

// command returns QEMU's arguments. What the VM has and this QEMU cannot be given is an error.
func (v *vm) command(fwCfg []string) ([]string, error) {
	h := v.Hardware
	if h == nil {
		return nil, errors.New("vCenter does not say what hardware it has")
	}
	args := []string{
		"-name", "guest=" + escape(v.Name), "-uuid", h.UUID,
		"-nodefaults", "-no-user-config", "-display", "none", "-msg", "timestamp=on",
		"-machine", "pc,vmport=off,accel=" + v.accel, "-cpu", cpuOf(v.accel), "-smp", strconv.Itoa(h.CPUs), "-m", strconv.Itoa(h.MemoryMB),
		"-boot", "strict=on", // nothing boots but what has a boot index
		"-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", fdMonitor), "-mon", "chardev=monitor,mode=control",
		"-qmp", "unix:" + escape(filepath.Join(v.dir, "qmp.sock")) + ",server=on,wait=off",
		"-chardev", "file,id=console,append=on,path=" + escape(v.console), "-serial", "chardev:console",
		// Without an id the port has no events.
		"-device", "virtio-serial-pci", "-chardev", fmt.Sprintf("socket,id=port,fd=%d", fdPort), "-device", "virtserialport,id=port,chardev=port,name=" + PortName,
	}
	args = append(args, fwCfg...)
	cdroms, err := cdromArgs(h.Cdroms)
	if err != nil {
		return nil, err
	}
	disks, err := diskArgs(h.Disks)
	if err != nil {
		return nil, err
	}
	args = append(append(args, cdroms...), disks...)
	for i, nic := range h.Nics {
		if !slices.Contains([]string{"vmxnet3", "e1000", "e1000e"}, nic.Model) {
			return nil, fmt.Errorf("a network card %s is not possible here", nic.Model)
		}
		args = append(args, "-netdev", fmt.Sprintf("tap,id=nic%d,fd=%d", i, fdFirstNic+i),
			"-device", fmt.Sprintf("%s,netdev=nic%d,mac=%s,romfile=", nic.Model, i, nic.MAC))
	}
	return args, nil
}

func cdromArgs(cdroms []guestline.Cdrom) (args []string, err error) {
	ahci, ide := 0, 0
	for i, c := range cdroms {
		drive := fmt.Sprintf("if=none,id=cd%d,media=cdrom,readonly=on", i)
		switch _, err := os.Stat(c.File); {
		case err == nil:
			drive += ",format=raw,file=" + escape(c.File)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
			// Without its file it is an empty drive, as in vSphere.
		}
		var bus string
		switch c.Controller {
		case "ahci":
			if ahci == 0 {
				args = append(args, "-device", "ahci,id=sata")
			}
			bus = fmt.Sprintf("sata.%d", ahci)
			ahci++
		case "ide":
			bus = fmt.Sprintf("ide.%d,unit=%d", ide/2, ide%2)
			ide++
		default:
			return nil, fmt.Errorf("a CD-ROM drive on %s is not possible here", c.Controller)
		}
		args = append(args, "-drive", drive, "-device", fmt.Sprintf("ide-cd,drive=cd%d,bus=%s,bootindex=%d", i, bus, i))
	}
	return args, nil
}

func diskArgs(disks []guestline.Disk) (args []string, err error) {
	controllers := map[int]bool{}
	for i, d := range disks {
		if d.Controller != "pvscsi" {
			return nil, fmt.Errorf("a disk on %s is not possible here", d.Controller)
		}
		if _, err := os.Stat(d.File); err != nil {
			return nil, err
		}
		if !controllers[d.Bus] {
			controllers[d.Bus] = true
			args = append(args, "-device", fmt.Sprintf("pvscsi,id=scsi%d", d.Bus))
		}
		// Nothing here outlives the machine, so nothing waits for its disks.
		drive := fmt.Sprintf("if=none,id=disk%d,format=vmdk,cache=unsafe,discard=unmap,file=%s", i, escape(d.File))
		switch d.Mode {
		case "persistent", "independent_persistent":
		case "nonpersistent", "independent_nonpersistent":
			drive += ",snapshot=on"
		default:
			return nil, fmt.Errorf("a disk of mode %s is not possible here", d.Mode)
		}
		device := fmt.Sprintf("scsi-hd,drive=disk%d,bus=scsi%d.0,scsi-id=%d,lun=0", i, d.Bus, d.Unit)
		if d.UUID != "" {
			device += ",serial=" + strings.ReplaceAll(d.UUID, "-", "")
		}
		args = append(args, "-drive", drive, "-device", device)
	}
	return args, nil
}

type qmpCommand struct {
	name      string
	arguments map[string]any
}

// plugCommands add a disk to a machine that runs and has n of them.
func plugCommands(d guestline.Disk, n int) []qmpCommand {
	node := fmt.Sprintf("disk%d", n)
	device := map[string]any{"driver": "scsi-hd", "drive": node, "bus": fmt.Sprintf("scsi%d.0", d.Bus), "scsi-id": d.Unit, "lun": 0}
	if d.UUID != "" {
		device["serial"] = strings.ReplaceAll(d.UUID, "-", "")
	}
	return []qmpCommand{
		{"blockdev-add", map[string]any{"driver": "vmdk", "node-name": node, "discard": "unmap", "cache": map[string]any{"no-flush": true},
			"file": map[string]any{"driver": "file", "filename": d.File}}},
		{"device_add", device},
	}
}

// maxFwCfgName is the longest name that QEMU takes.
const maxFwCfgName = 55

// writeFwCfg writes what the guest finds under /sys/firmware/qemu_fw_cfg and returns the arguments for it. Keys that are too
// long are returned, too.
func writeFwCfg(dir string, info map[string]string) (args, tooLong []string, err error) {
	keys := make([]string, 0, len(info))
	for key := range info {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for i, key := range keys {
		name := "opt/" + key
		if len(name) > maxFwCfgName {
			tooLong = append(tooLong, key)
			continue
		}
		file := filepath.Join(dir, fmt.Sprintf("fw_cfg.%d", i))
		if err := os.WriteFile(file, []byte(info[key]), 0o600); err != nil {
			return nil, nil, err
		}
		args = append(args, "-fw_cfg", "name="+escape(name)+",file="+escape(file))
	}
	return args, tooLong, nil
}
