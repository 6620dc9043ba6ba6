package vcenter

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"sort"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/find"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/session"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// Client is a user of vCenter over its real API.
type Client struct {
	*govmomi.Client
	ctx    context.Context
	cancel context.CancelFunc
}

// VM is what `tools/lab vms` prints of a virtual machine.
type VM struct {
	Name        string            `json:"name"`
	Ref         string            `json:"ref"`
	PowerState  string            `json:"powerState"`
	Template    bool              `json:"template,omitempty"`
	Folder      string            `json:"folder,omitempty"`
	IP          string            `json:"ip,omitempty"`
	Tools       string            `json:"tools,omitempty"`
	ExtraConfig map[string]string `json:"extraConfig"`
}

// Found is what is left in vCenter.
type Found struct {
	VMs   []string `json:"vms"`
	Files []string `json:"files"`
}

// Login connects to the vCenter that config describes, for no longer than timeout.
func Login(config Config, caFile string, timeout time.Duration) (*Client, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	c := &Client{ctx: ctx, cancel: cancel}
	transport := soap.NewClient(&url.URL{Scheme: "https", Host: config.Address, Path: "/sdk"}, false)
	err := transport.SetRootCAs(caFile)
	if err == nil {
		var client *vim25.Client
		if client, err = vim25.NewClient(ctx, transport); err == nil {
			c.Client = &govmomi.Client{Client: client, SessionManager: session.NewManager(client)}
			err = c.Login(ctx, url.UserPassword(config.User, config.Password))
		}
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("vCenter: %w", err)
	}
	return c, nil
}

// Logout ends the session.
func (c *Client) Logout() {
	_ = c.Client.Logout(c.ctx)
	c.cancel()
}

// List returns all VMs, by name.
func (c *Client) List() ([]VM, error) {
	all, err := c.retrieve([]string{"name", "parent", "runtime.powerState", "config.template", "config.extraConfig", "guest.ipAddress", "guest.toolsRunningStatus"})
	if err != nil {
		return nil, err
	}
	list := []VM{}
	for _, m := range all {
		vm := VM{Name: m.Name, Ref: m.Self.Value, PowerState: string(m.Runtime.PowerState), ExtraConfig: map[string]string{}}
		if m.Parent != nil {
			vm.Folder = m.Parent.Value
		}
		if m.Config != nil {
			vm.Template = m.Config.Template
			for _, option := range m.Config.ExtraConfig {
				o := option.GetOptionValue()
				vm.ExtraConfig[o.Key] = fmt.Sprint(o.Value)
			}
		}
		if m.Guest != nil {
			vm.IP, vm.Tools = m.Guest.IpAddress, m.Guest.ToolsRunningStatus
		}
		list = append(list, vm)
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list, nil
}

func (c *Client) retrieve(properties []string) ([]mo.VirtualMachine, error) {
	v, err := view.NewManager(c.Client.Client).CreateContainerView(c.ctx, c.ServiceContent.RootFolder, []string{"VirtualMachine"}, true)
	if err != nil {
		return nil, err
	}
	defer func() { _ = v.Destroy(c.ctx) }()
	var all []mo.VirtualMachine
	err = v.Retrieve(c.ctx, []string{"VirtualMachine"}, properties, &all)
	return all, err
}

// ErrAction is what Do answers to a word that it does not know.
var ErrAction = errors.New("unknown action")

// Do does something to the VM of that name and waits until it is done.
func (c *Client) Do(action, name string) error {
	all, err := c.retrieve([]string{"name"})
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.Name != name {
			continue
		}
		vm := object.NewVirtualMachine(c.Client.Client, m.Self)
		var task *object.Task
		switch action {
		case "on":
			task, err = vm.PowerOn(c.ctx)
		case "off":
			task, err = vm.PowerOff(c.ctx)
		case "reset":
			task, err = vm.Reset(c.ctx)
		case "destroy":
			task, err = vm.Destroy(c.ctx)
		case "unregister":
			return vm.Unregister(c.ctx)
		case "shutdown":
			_, err = methods.ShutdownGuest(c.ctx, c.Client, &types.ShutdownGuest{This: m.Self})
			return err
		default:
			return ErrAction
		}
		if err != nil {
			return err
		}
		return task.Wait(c.ctx)
	}
	return fmt.Errorf("there is no VM %q", name)
}

// Maintain puts the host of that name into maintenance, or ends it.
func (c *Client) Maintain(name string, on bool) error {
	host, err := find.NewFinder(c.Client.Client).HostSystem(c.ctx, "/DC0/host/*/"+name)
	if err != nil {
		return err
	}
	var task *object.Task
	if on {
		task, err = host.EnterMaintenanceMode(c.ctx, 0, false, nil)
	} else {
		task, err = host.ExitMaintenanceMode(c.ctx, 0)
	}
	if err != nil {
		return err
	}
	return task.Wait(c.ctx)
}

// Limit sets a pool's limits in MHz and MB; -1: none.
func (c *Client) Limit(name string, cpu, memory int64) error {
	pool, err := find.NewFinder(c.Client.Client).ResourcePool(c.ctx, "/DC0/host/*/Resources/"+name)
	if err != nil {
		return err
	}
	spec := types.DefaultResourceConfigSpec()
	spec.CpuAllocation.Limit, spec.MemoryAllocation.Limit = &cpu, &memory
	return pool.UpdateConfig(c.ctx, "", &spec)
}

// Leaks returns the VMs that are no templates and the files on the configured datastore that belong to no template and were
// not there from the start: image stores stay.
func (c *Client) Leaks(config Config) (Found, error) {
	found := Found{VMs: []string{}, Files: []string{}}
	all, err := c.retrieve([]string{"name", "config.template", "config.files.vmPathName"})
	if err != nil {
		return found, err
	}
	templates := map[string]bool{}
	for _, m := range all {
		if m.Config == nil || !m.Config.Template {
			found.VMs = append(found.VMs, m.Name)
			continue
		}
		var p object.DatastorePath
		if p.FromString(m.Config.Files.VmPathName) {
			templates[filepath.Dir(p.Path)] = true
		}
	}
	kept := map[string]bool{}
	for name := range config.Files {
		for ; name != "."; name = filepath.Dir(name) {
			kept[name] = true
		}
	}
	err = filepath.WalkDir(config.DatastoreDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == config.DatastoreDir {
			return err
		}
		name, err := filepath.Rel(config.DatastoreDir, path)
		if err != nil {
			return err
		}
		if entry.IsDir() && templates[name] {
			return fs.SkipDir
		}
		if !kept[name] {
			found.Files = append(found.Files, name)
		}
		return nil
	})
	sort.Strings(found.VMs)
	return found, err
}
