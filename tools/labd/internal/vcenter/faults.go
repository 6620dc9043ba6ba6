package vcenter

import (
	"fmt"
	"reflect"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// FaultRule makes calls fail. It hits calls, not tasks.
type FaultRule struct {
	Method      string        `json:"method"`          // such as PowerOnVM_Task; * for all
	Type        string        `json:"type,omitempty"`  // of the object, such as VirtualMachine; * for all
	Name        string        `json:"name,omitempty"`  // of the object; * for all
	Fault       string        `json:"fault"`           // a vim fault, such as TaskInProgress
	Probability float64       `json:"probability"`     // 0 to 1
	Skip        int           `json:"skip,omitempty"`  // spare the first calls that match
	Count       int           `json:"count,omitempty"` // then hit so many; 0 for all
	Delay       time.Duration `json:"delay,omitempty"` // before the answer
	Message     string        `json:"message,omitempty"`
}

func (v *Server) addFault(rule FaultRule) (any, error) {
	fault, err := newFault(rule.Fault)
	if err != nil {
		return nil, err
	}
	for _, s := range []*string{&rule.Method, &rule.Type, &rule.Name} {
		if *s == "" {
			*s = "*"
		}
	}
	v.service.AddFaultRule(&simulator.FaultInjectionRule{
		MethodName: rule.Method, ObjectType: rule.Type, ObjectName: rule.Name,
		FaultType: simulator.FaultTypeCustom, Fault: fault, Message: rule.Message,
		Probability: rule.Probability, SkipCount: rule.Skip, MaxCount: rule.Count,
		Delay: int(rule.Delay.Milliseconds()), Enabled: true,
	})
	v.mu.Lock()
	v.faults = append(v.faults, rule)
	v.mu.Unlock()
	return rule, nil
}

// newFault makes an empty fault by its vim25 name.
func newFault(name string) (types.BaseMethodFault, error) {
	kind, ok := types.TypeFunc()(name)
	if ok {
		if fault, ok := reflect.New(kind).Interface().(types.BaseMethodFault); ok {
			return fault, nil
		}
	}
	return nil, fmt.Errorf("%q is no vim fault; try TaskInProgress, InvalidPowerState, NotAuthenticated, InsufficientResourcesFault or HostNotConnected", name)
}

// faultStatus is a rule and how often it has hit.
type faultStatus struct {
	FaultRule
	Hits int64 `json:"hits"`
}

func (v *Server) listFaults() []faultStatus {
	stats := v.service.GetFaultStats()
	v.mu.Lock()
	defer v.mu.Unlock()
	all := []faultStatus{}
	for i, rule := range v.faults {
		hits, _ := stats[fmt.Sprintf("rule_%d_count", i)].(int64)
		all = append(all, faultStatus{rule, hits})
	}
	return all
}

func (v *Server) clearFaults() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.service.ClearFaultRules()
	v.faults = nil
}
