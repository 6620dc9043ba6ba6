// Package guestline holds what vCenter and whatever plays its VMs' guests say to each other: JSON objects, one a line, over
// a unix socket on which the guests listen (docs/lab.md, "Guests").
package guestline

// Message is a line in either direction.
type Message struct {
	Op string `json:"op"`
	VM string `json:"vm,omitempty"`
	// Run tells one power-on of a VM from another. Guests repeat it, so that a last word of an earlier run is known as such;
	// a message without it is about whichever run there is.
	Run       int64             `json:"run,omitempty"`
	Name      string            `json:"name,omitempty"`
	GuestInfo map[string]string `json:"guestinfo,omitempty"`
	Hardware  *Hardware         `json:"hardware,omitempty"`
	IP        []string          `json:"ip,omitempty"`
	Hostname  string            `json:"hostname,omitempty"`
}

// Hardware is what a VM's configuration names.
type Hardware struct {
	UUID     string  `json:"uuid"`
	CPUs     int     `json:"cpus"`
	MemoryMB int     `json:"memoryMB"`
	Cdroms   []Cdrom `json:"cdroms,omitempty"`
	Disks    []Disk  `json:"disks,omitempty"`
	Nics     []Nic   `json:"nics,omitempty"`
}

// Cdrom is a drive with an ISO in it.
type Cdrom struct {
	File       string `json:"file"`
	Controller string `json:"controller"` // ahci or ide
}

// Disk is a VMDK.
type Disk struct {
	File       string `json:"file"`
	Controller string `json:"controller"` // pvscsi, or the type of what a guest of the lab cannot have
	Bus        int    `json:"bus"`
	Unit       int    `json:"unit"`
	UUID       string `json:"uuid,omitempty"`
	Mode       string `json:"mode"`
}

// Nic is a network card.
type Nic struct {
	Model   string `json:"model"` // vmxnet3, e1000 or e1000e
	MAC     string `json:"mac"`
	Network string `json:"network"` // name of the network or port group
}
