// Package vcenter is the lab's vCenter: govmomi's simulator behind a door that the lab can shut.
package vcenter

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/types"

	// The simulator's other endpoints register themselves.
	_ "github.com/vmware/govmomi/cns/simulator"
	_ "github.com/vmware/govmomi/lookup/simulator"
	_ "github.com/vmware/govmomi/pbm/simulator"
	_ "github.com/vmware/govmomi/sts/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
	_ "github.com/vmware/govmomi/vslm/simulator"
)

// Config says how to run the vCenter.
type Config struct {
	Address       string // host:port of its HTTPS endpoint
	CertFile      string
	KeyFile       string
	User          string
	Password      string
	DatastoreDir  string            // files of the datastore LocalDS_0
	Files         map[string]string // what is on it from the start, by path; where it is copied from
	ScratchDir    string            // what the simulator keeps besides
	ControlSocket string
	GuestsSocket  string // empty: no guests
	TaskDelays    Delays
}

const (
	hosts         = 3
	coresPerHost  = 64
	mhzPerCore    = 2500
	bytesPerHost  = 512 << 30
	datastoreName = "LocalDS_0"
	leaseTimeout  = 300 * time.Second // as the simulator tells its clients
)

// Run serves until the process ends.
func Run(c Config) error {
	for _, dir := range []string{c.DatastoreDir, c.ScratchDir} {
		// What a vCenter that was killed left behind belongs to VMs that no longer exist.
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for name, source := range c.Files {
		if err := copyFile(filepath.Join(c.DatastoreDir, name), source); err != nil {
			return err
		}
	}
	if err := os.Setenv("TMPDIR", c.ScratchDir); err != nil { // the simulator makes its directories there
		return err
	}
	v, err := newServer(c)
	if err != nil {
		return err
	}
	control, err := listenControl(c.ControlSocket)
	if err != nil {
		return err
	}
	if err := v.door.open(); err != nil {
		return err
	}
	log.Printf("vCenter at https://%s/sdk", c.Address)
	if c.GuestsSocket != "" {
		go v.guests.connect(c.GuestsSocket)
	}
	go v.keepUsage()
	return v.serveControl(control)
}

func copyFile(to, from string) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	target, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(target, source)
	return errors.Join(err, target.Close())
}

// Server is a running vCenter.
type Server struct {
	config  Config
	service *simulator.Service
	model   *simulator.Model
	door    *door
	stats   *stats
	guests  *guests
	tokens  tokens

	operations   *operations
	disks        *disks
	leaseTimeout time.Duration

	mu     sync.Mutex
	strict map[string]bool
	delays Delays
	faults []FaultRule
}

func newServer(c Config) (*Server, error) {
	sizeTemplates()
	model := simulator.VPX()
	model.Host, model.ClusterHost = 0, hosts
	model.Datastore, model.Machine = 0, 0
	if err := model.Create(); err != nil {
		return nil, err
	}
	service := model.Service
	v := &Server{config: c, service: service, model: model, stats: newStats(), leaseTimeout: leaseTimeout}
	if err := v.addDatastore(); err != nil {
		return nil, err
	}
	v.sizeCluster()

	service.Listen = &url.URL{Host: c.Address, User: url.UserPassword(c.User, c.Password)}
	service.RegisterEndpoints = true
	tlsConfig, err := loadTLS(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, err
	}
	service.TLS = tlsConfig
	service.NewServer().Close() // it fills ServeMux with all endpoints; the door serves them
	v.door = newDoor(c.Address, tlsConfig, v.middleware(service.ServeMux))
	v.guests = newGuests(v)
	v.install()
	return v, nil
}

// addDatastore mounts one local datastore on all hosts.
func (v *Server) addDatastore() error {
	ctx := context.Background()
	client, err := vim25.NewClient(ctx, v.service)
	if err != nil {
		return err
	}
	all, err := find.NewFinder(client).HostSystemList(ctx, "/DC0/host/*/*")
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(v.config.DatastoreDir)
	if err != nil {
		return err
	}
	for _, host := range all {
		system, err := host.ConfigManager().DatastoreSystem(ctx)
		if err != nil {
			return err
		}
		if _, err := system.CreateLocalDatastore(ctx, datastoreName, dir); err != nil {
			return fmt.Errorf("datastore: %w", err)
		}
	}
	return nil
}

// sizeTemplates makes what the simulator copies its hosts and pools from large enough for some thousand pods.
func sizeTemplates() {
	const mhz, memory = int64(hosts * coresPerHost * mhzPerCore), int64(hosts * bytesPerHost)
	hardware := esx.HostSystem.Summary.Hardware
	hardware.NumCpuCores, hardware.NumCpuThreads, hardware.CpuMhz, hardware.MemorySize = coresPerHost, 2*coresPerHost, mhzPerCore, bytesPerHost
	info := esx.HostHardwareInfo
	info.CpuInfo.NumCpuCores, info.CpuInfo.NumCpuThreads, info.CpuInfo.Hz = coresPerHost, 2*coresPerHost, mhzPerCore*1e6
	info.MemorySize = bytesPerHost

	pool := &esx.ResourcePool
	summary := pool.Summary.GetResourcePoolSummary()
	for _, runtime := range []*types.ResourcePoolRuntimeInfo{&pool.Runtime, &summary.Runtime} {
		runtime.Cpu.MaxUsage, runtime.Cpu.UnreservedForPool, runtime.Cpu.UnreservedForVm = mhz, mhz, mhz
		runtime.Memory.MaxUsage, runtime.Memory.UnreservedForPool, runtime.Memory.UnreservedForVm = memory, memory, memory
	}
	for _, config := range []*types.ResourceConfigSpec{&pool.Config, &summary.Config} {
		config.CpuAllocation.Reservation, config.CpuAllocation.Limit = types.NewInt64(mhz), types.NewInt64(mhz)
		config.MemoryAllocation.Reservation, config.MemoryAllocation.Limit = types.NewInt64(memory>>20), types.NewInt64(memory>>20)
	}
}

// sizeCluster sums up its hosts.
func (v *Server) sizeCluster() {
	for _, e := range v.model.Map().All("ClusterComputeResource") {
		summary := e.(*simulator.ClusterComputeResource).Summary.GetComputeResourceSummary()
		summary.NumHosts, summary.NumEffectiveHosts = hosts, hosts
		summary.NumCpuCores, summary.NumCpuThreads = hosts*coresPerHost, 2*hosts*coresPerHost
		summary.TotalCpu, summary.EffectiveCpu = hosts*coresPerHost*mhzPerCore, hosts*coresPerHost*mhzPerCore
		summary.TotalMemory, summary.EffectiveMemory = hosts*bytesPerHost, hosts*bytesPerHost>>20
	}
}

// listenControl takes the control socket, also from a process that died.
func listenControl(path string) (net.Listener, error) {
	_ = os.Remove(path)
	return net.Listen("unix", path)
}
