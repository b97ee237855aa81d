package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"

	"example.org/conc/bundle"
	"example.org/conc/jobs"
)

// protocol is the version that both ends name first. Both are the same program,
// but for a program that was built wrong.
const protocol = 1

// clientHello is what the workstation says first.
type clientHello struct {
	V      int    `json:"v"`
	Nonce  string `json:"nonce"`
	Verify bool   `json:"verify,omitempty"` // the agent's file has just arrived: read it
}

// marker is what the agent writes before its first frame. It follows from the
// nonce but does not hold it, so that a login shell which echoes its input is
// not taken for an agent.
func marker(nonce string) []byte {
	sum := sha256.Sum256([]byte("conc agent " + nonce))
	return []byte("\x01conc-agent/1 " + hex.EncodeToString(sum[:16]) + "\n")
}

// configBody is what an agent needs of deploy.ini: one node, one list.
type configBody struct {
	Node   string            `json:"node"`
	Values map[string]string `json:"values"` // resolved; secrets are tokens
	Owner  bundle.Owner      `json:"owner"`
	List   string            `json:"list,omitempty"`
	Specs  []jobs.Spec       `json:"specs,omitempty"`  // empty: no steps will be run
	Digest string            `json:"digest,omitempty"` // of the plan, to compare
	Record *jobs.PlanRecord  `json:"record,omitempty"` // without its steps, which are the specs

	// To the root agent alone: of the account whose agent it works for.
	Home   string `json:"home,omitempty"`
	Locale string `json:"locale,omitempty"` // its LC_ALL

	Local *localBody `json:"local,omitempty"` // to the root agent of a workstation
}

type runBody struct {
	From int `json:"from"`
	To   int `json:"to"`
}

type progressBody struct {
	Done  int64 `json:"done"`
	Total int64 `json:"total"`
}

// endBody is a result. The tail is apart because JSON strings cannot hold bytes
// that are not UTF-8.
type endBody struct {
	Result jobs.Result `json:"result"`
	Tail   [][]byte    `json:"tail,omitempty"`
}

// The methods of a callBody.
const (
	callHeld    = "held"
	callAdopt   = "adopt"
	callJournal = "journal"
	callMark    = "mark"
	callUnlock  = "unlock"
	callElevate = "elevate"
	callAsk     = "ask"
	callSettle  = "settle"

	callProcedure = "procedure"
)

type callBody struct {
	ID     uint32          `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params,omitempty"`
}

type adoptParams struct {
	Seen   int  `json:"seen"`             // records of the node's journal
	Closed bool `json:"closed,omitempty"` // its bundle was closed: what is left of it is taken on
}

type journalParams struct {
	Run string `json:"run"`
}

type journalResult struct {
	Records []jobs.Record `json:"records"`
	Torn    bool          `json:"torn,omitempty"`
}

type markParams struct {
	Run    string      `json:"run"`
	Record jobs.Record `json:"record"`
	Closed bool        `json:"closed,omitempty"` // the run has closed its bundle
}

type unlockParams struct {
	Run string `json:"run"`
}

// elevateParams hold the password as bytes, which can be cleared.
type elevateParams struct {
	Password []byte `json:"password,omitempty"`
}

// procedureParams ask for one of the program's own procedures.
type procedureParams struct {
	Name   string          `json:"name"`
	Sudo   bool            `json:"sudo,omitempty"`
	Params json.RawMessage `json:"params,omitempty"`
}

type replyBody struct {
	ID     uint32          `json:"id"`
	Error  *errBody        `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// errBody is an error that travels.
type errBody struct {
	Status  jobs.Status `json:"status,omitempty"`
	Message string      `json:"message"`
	Hint    string      `json:"hint,omitempty"`
}

// typedConc stands in the agent's hints for what the operator's commands begin
// with. That is the workstation's business, and is filled in there.
const typedConc = "{conc}"

// askStatus is the command that shows who holds this node, in a hint.
func (se *session) askStatus() string { return typedConc + " status " + se.node.Name() }

// asTyped fills in how the operator's commands begin.
func (c *Client) asTyped(hint string) string { return strings.ReplaceAll(hint, typedConc, c.typed) }
