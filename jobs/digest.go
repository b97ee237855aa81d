package jobs

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
)

// digestVersion changes when the same plan would be encoded differently.
const digestVersion = 1

// digest gives the hex sha256 of everything that decides what the steps do. No
// secret is in it: in words a token stands for each.
func (p *Plan) digest() (string, error) {
	type step struct {
		N      int
		Spec   Spec
		Type   string          `json:",omitempty"`
		Fields json.RawMessage `json:",omitempty"`
	}
	whole := struct {
		V          int
		Node, List string
		Steps      []step
	}{V: digestVersion, Node: p.Node.Name(), List: p.List}
	for i, spec := range p.Specs() {
		s := step{N: i + 1, Spec: spec}
		if spec.Words == nil {
			op := p.Steps[i].Op
			s.Type = reflect.TypeOf(op).String()
			// A function, or a struct with one in it, has its type's name only.
			s.Fields, _ = json.Marshal(op)
		}
		whole.Steps = append(whole.Steps, s)
	}
	data, err := json.Marshal(whole)
	if err != nil {
		return "", fmt.Errorf("digest: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}
