package vcenter

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"

	"vch-kubelet/tools/labd/internal/guestline"
)

// guests is vCenter's end of the line to the simulated guests: one JSON object a line, both ways, over a unix socket on
// which the guests listen. It is a registry handler: every change of a VM's power state passes by here.
type guests struct {
	registry     *simulator.Registry
	datastoreDir string
	// ctx is the simulator's identity for what guests do. Calls share locks by context, so only connect's goroutine uses it.
	ctx *simulator.Context

	mu      sync.Mutex
	queue   chan []byte                                      // nil while nobody is connected
	created map[types.ManagedObjectReference]map[string]bool // guestinfo keys that a guest made while it ran
	runs    map[types.ManagedObjectReference]int64           // of VMs that are on
	disks   map[types.ManagedObjectReference]int             // that the guest of a VM which is on was last told of
	lastRun int64
}

type message = guestline.Message

const (
	guestInfoPrefix = "guestinfo."
	reconnectAfter  = 100 * time.Millisecond
	// queueLength is far above what all VMs of a lab can cause at once; guests that fall back so far are cut off and synced anew.
	queueLength = 1 << 16
)

func newGuests(v *Server) *guests {
	return &guests{
		registry:     v.model.Map(),
		datastoreDir: v.config.DatastoreDir,
		ctx:          simulator.NewContext(),
		created:      map[types.ManagedObjectReference]map[string]bool{},
		runs:         map[types.ManagedObjectReference]int64{},
		disks:        map[types.ManagedObjectReference]int{},
	}
}

// connect keeps connected to the guests' socket for ever.
func (g *guests) connect(socket string) {
	for {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			time.Sleep(reconnectAfter)
			continue
		}
		log.Print("guests: connected")
		err = g.serve(conn)
		log.Printf("guests: connection lost: %v", err)
		time.Sleep(reconnectAfter)
	}
}

func (g *guests) serve(conn net.Conn) error {
	defer conn.Close()
	queue := make(chan []byte, queueLength)
	g.mu.Lock()
	g.queue = queue
	g.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w := bufio.NewWriter(conn)
		for line := range queue {
			_, err := w.Write(line)
			if err == nil && len(queue) == 0 {
				err = w.Flush()
			}
			if err != nil {
				conn.Close()
				break
			}
		}
		for range queue { // until it is closed
		}
	}()
	defer func() {
		g.mu.Lock()
		if g.queue == queue {
			g.queue = nil
			close(queue)
		}
		g.mu.Unlock()
		<-done
	}()

	g.send(message{Op: "sync"})
	g.bootAll()
	decoder := json.NewDecoder(bufio.NewReader(conn))
	for {
		var m message
		if err := decoder.Decode(&m); err != nil {
			if errors.Is(err, io.EOF) {
				return errors.New("the guests closed it")
			}
			return err
		}
		g.received(m)
	}
}

// send never blocks: guests may not hold up vCenter.
func (g *guests) send(m message) {
	line, err := json.Marshal(m)
	if err != nil {
		log.Printf("guests: %v", err)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.queue == nil {
		return
	}
	select {
	case g.queue <- append(line, '\n'):
	default:
		log.Print("guests: too slow, connection given up")
		close(g.queue)
		g.queue = nil
	}
}

// bootAll tells of every VM that is on. Guests ignore those that they run already.
func (g *guests) bootAll() {
	for _, e := range g.registry.All("VirtualMachine") {
		vm, ok := e.(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		g.registry.WithLock(g.ctx, vm, func() {
			if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
				g.send(g.powerOn(vm))
			}
		})
	}
}

// powerOn describes a VM that is on; the VM is locked.
func (g *guests) powerOn(vm *simulator.VirtualMachine) message {
	m := message{Op: "power_on", VM: vm.Self.Value, Run: g.run(vm.Self), Name: vm.Name, GuestInfo: map[string]string{}, Hardware: g.hardwareOf(vm)}
	for _, option := range vm.Config.ExtraConfig {
		o := option.GetOptionValue()
		if value, ok := o.Value.(string); ok && strings.HasPrefix(o.Key, guestInfoPrefix) {
			m.GuestInfo[o.Key] = value
		}
	}
	g.mu.Lock()
	g.disks[vm.Self] = len(m.Hardware.Disks)
	g.mu.Unlock()
	return m
}

// disksChanged tells the guest of a VM that is on when it has other disks than before; the VM is locked.
func (g *guests) disksChanged(vm *simulator.VirtualMachine) {
	hardware := g.hardwareOf(vm)
	g.mu.Lock()
	before, told := g.disks[vm.Self]
	g.disks[vm.Self] = len(hardware.Disks)
	g.mu.Unlock()
	// What changes while it is powered on is in the message about that.
	if told && before != len(hardware.Disks) {
		g.send(message{Op: "hardware", VM: vm.Self.Value, Run: g.run(vm.Self), Hardware: hardware})
	}
}

// run numbers the times that VMs are powered on.
func (g *guests) run(vm types.ManagedObjectReference) int64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.runs[vm] == 0 {
		g.lastRun++
		g.runs[vm] = g.lastRun
	}
	return g.runs[vm]
}

// current tells whether a message is about the run that a VM is in.
func (g *guests) current(vm types.ManagedObjectReference, run int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return run == 0 || run == g.runs[vm]
}

// PutObject and RemoveObject are part of being a registry handler.
func (g *guests) PutObject(*simulator.Context, mo.Reference) {}

// RemoveObject forgets a VM.
func (g *guests) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	g.mu.Lock()
	delete(g.created, ref)
	delete(g.runs, ref)
	delete(g.disks, ref)
	g.mu.Unlock()
}

// Reference names the handler.
func (g *guests) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "LabGuests", Value: "lab-guests"}
}

// UpdateObject sees every change of every object; whoever makes the change holds the object's lock through ctx.
func (g *guests) UpdateObject(ctx *simulator.Context, obj mo.Reference, changes []types.PropertyChange) {
	ref := obj.Reference()
	if ref.Type != "VirtualMachine" {
		return
	}
	for _, change := range changes {
		vm, ok := g.registry.Get(ref).(*simulator.VirtualMachine)
		if !ok {
			return
		}
		if change.Name == "config.hardware.device" && vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			g.disksChanged(vm)
		}
		if change.Name != "runtime.powerState" {
			continue
		}
		if change.Val == types.VirtualMachinePowerStatePoweredOn {
			g.send(g.powerOn(vm))
		} else {
			g.send(message{Op: "power_off", VM: ref.Value})
			g.guestEnded(ctx, vm)
		}
	}
}

// guestEnded takes back what the guest said about itself, and the guestinfo keys that it made.
func (g *guests) guestEnded(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	g.mu.Lock()
	created := g.created[vm.Self]
	delete(g.created, vm.Self)
	delete(g.runs, vm.Self)
	delete(g.disks, vm.Self)
	g.mu.Unlock()
	changes := guestChanges(vm, nil, "")
	if len(created) != 0 {
		var kept []types.BaseOptionValue
		for _, option := range vm.Config.ExtraConfig {
			if !created[option.GetOptionValue().Key] {
				kept = append(kept, option)
			}
		}
		for key := range created {
			changes = append(changes, types.PropertyChange{Name: extraConfigPath(key), Op: types.PropertyChangeOpRemove})
		}
		changes = append(changes, types.PropertyChange{Name: "config.extraConfig", Val: kept})
	}
	g.registry.Update(ctx, vm, changes)
}

func extraConfigPath(key string) string {
	field := mo.Field{Path: "config.extraConfig", Key: key}
	return field.String()
}

// received does what a guest asks for.
func (g *guests) received(m message) {
	vm, ok := g.registry.Get(types.ManagedObjectReference{Type: "VirtualMachine", Value: m.VM}).(*simulator.VirtualMachine)
	if !ok {
		return // destroyed in the meantime
	}
	g.registry.WithLock(g.ctx, vm, func() {
		if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn || !g.current(vm.Self, m.Run) {
			return // a last word that came too late
		}
		switch m.Op {
		case "set":
			g.setGuestInfo(vm, m.GuestInfo)
		case "net":
			if len(m.IP) == 0 && vm.Guest.IpAddress == "" {
				return // as before
			}
			g.registry.Update(g.ctx, vm, guestChanges(vm, m.IP, m.Hostname))
		case "powered_off":
			g.registry.Update(g.ctx, vm, []types.PropertyChange{
				{Name: "runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOff},
				{Name: "summary.runtime.powerState", Val: types.VirtualMachinePowerStatePoweredOff},
				{Name: "summary.runtime.bootTime"},
			})
		default:
			log.Printf("guests: unknown op %q", m.Op)
		}
	})
}

// setGuestInfo writes keys as a guest's info-set does. The array is replaced, because readers may hold the old one.
func (g *guests) setGuestInfo(vm *simulator.VirtualMachine, info map[string]string) {
	options := append([]types.BaseOptionValue(nil), vm.Config.ExtraConfig...)
	index := map[string]int{}
	for i, option := range options {
		index[option.GetOptionValue().Key] = i
	}
	var changes []types.PropertyChange
	for key, value := range info {
		if !strings.HasPrefix(key, guestInfoPrefix) {
			log.Printf("guests: %s may not write %q", vm.Name, key)
			continue
		}
		option := &types.OptionValue{Key: key, Value: value}
		op := types.PropertyChangeOpAssign
		if i, ok := index[key]; ok {
			options[i] = option
		} else {
			op = types.PropertyChangeOpAdd
			options = append(options, option)
			g.mu.Lock()
			if g.created[vm.Self] == nil {
				g.created[vm.Self] = map[string]bool{}
			}
			g.created[vm.Self][key] = true
			g.mu.Unlock()
		}
		changes = append(changes, types.PropertyChange{Name: extraConfigPath(key), Val: option, Op: op})
	}
	// The array first: the keyed changes only notify.
	vm.Config.ExtraConfig = options
	g.registry.Update(g.ctx, vm, append(changes, types.PropertyChange{Name: "config.extraConfig", Val: options}))
}

// guestChanges are the properties that VMware Tools fill; without addresses, those of a VM whose tools do not run.
func guestChanges(vm *simulator.VirtualMachine, ip []string, hostname string) []types.PropertyChange {
	status, running, version, state := types.VirtualMachineToolsStatusToolsNotRunning,
		types.VirtualMachineToolsRunningStatusGuestToolsNotRunning, types.VirtualMachineToolsVersionStatusGuestToolsUnmanaged, types.VirtualMachineGuestStateNotRunning
	var nics []types.GuestNicInfo
	first := ""
	if len(ip) != 0 {
		first = ip[0]
		status, running, state = types.VirtualMachineToolsStatusToolsOk, types.VirtualMachineToolsRunningStatusGuestToolsRunning, types.VirtualMachineGuestStateRunning
		nics = []types.GuestNicInfo{nicInfo(vm, ip)}
	}
	return []types.PropertyChange{
		{Name: "guest.toolsStatus", Val: status},
		{Name: "guest.toolsRunningStatus", Val: string(running)},
		{Name: "guest.toolsVersionStatus2", Val: string(version)},
		{Name: "guest.guestState", Val: string(state)},
		{Name: "guest.hostName", Val: hostname},
		{Name: "guest.ipAddress", Val: first},
		{Name: "guest.net", Val: nics},
		{Name: "summary.guest.toolsStatus", Val: status},
		{Name: "summary.guest.toolsRunningStatus", Val: string(running)},
		{Name: "summary.guest.hostName", Val: hostname},
		{Name: "summary.guest.ipAddress", Val: first},
	}
}

func nicInfo(vm *simulator.VirtualMachine, ip []string) types.GuestNicInfo {
	info := types.GuestNicInfo{IpAddress: ip, Connected: true, DeviceConfigId: -1}
	for _, device := range vm.Config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			nic := card.GetVirtualEthernetCard()
			info.MacAddress, info.DeviceConfigId = nic.MacAddress, nic.Key
			break
		}
	}
	return info
}
