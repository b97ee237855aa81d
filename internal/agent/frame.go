package agent

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

// kind is a frame's type, its first byte.
type kind byte

// The frames. Each has one direction, but PING, PONG and ERR.
const (
	kindHello    kind = 1 + iota // both: greeting; agentHello, clientHello
	kindConfig                   // to the agent: configBody
	kindSecret                   // to the agent: map of name to value
	kindReady                    // to the client: the configuration is understood
	kindRun                      // to the agent: runBody
	kindBegin                    // to the client: a step begins
	kindOut                      // to the client: raw output
	kindProgress                 // to the client: progressBody
	kindEnd                      // to the client: endBody
	kindRan                      // to the client: the stretch is over
	kindRecord                   // to the agent: jobs.Record of a local step, not answered
	kindStop                     // to the agent: start no further step, now or later
	kindCancel                   // to the agent: STOP, and end the running step
	kindCall                     // to the agent: callBody, in parts
	kindReply                    // to the client: replyBody, in parts
	kindCallOut                  // to the client: raw output of a call, behind the call's id
	kindDrop                     // to the agent: a call's id; nobody waits for it any more
	kindPing                     // both
	kindPong                     // both
	kindErr                      // both: errBody; the conversation is over
	kindBye                      // to the agent: goodbye
	kindEnds                     // no frame: one past the last
)

// A frame is an 8-byte header (kind, flags, step, length of the body; big
// endian) and its body.
type frame struct {
	kind  kind
	flags byte
	step  uint16
	body  []byte
}

const (
	headerLen  = 8
	idLen      = 4 // of a call, big endian
	maxOut     = 64 << 10
	maxControl = 256 << 10
	maxSteps   = 1<<16 - 1

	flagMore byte = 1 // another part of the same message follows
)

// protocolError is a frame that a correct peer does not send.
type protocolError struct{ reason string }

func (e *protocolError) Error() string { return "protocol error: " + e.reason }

func badFrame(format string, args ...any) error {
	return &protocolError{fmt.Sprintf(format, args...)}
}

// limit is the largest body that a kind may have.
func (k kind) limit() int {
	switch k {
	case kindBegin, kindRan, kindReady, kindStop, kindCancel, kindPing, kindPong, kindBye:
		return 0
	case kindOut:
		return maxOut
	case kindCallOut:
		return idLen + maxOut
	case kindDrop:
		return idLen
	}
	return maxControl
}

// readFrame reads one frame. Nothing is allocated for a body before its length
// is known to be allowed. The error is io.EOF between two frames only.
func readFrame(r io.Reader) (frame, error) {
	var h [headerLen]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return frame{}, err
	}
	f := frame{kind: kind(h[0]), flags: h[1], step: binary.BigEndian.Uint16(h[2:])}
	size := binary.BigEndian.Uint32(h[4:])
	switch {
	case f.kind == 0 || f.kind >= kindEnds:
		return frame{}, badFrame("frame of unknown type %d", f.kind)
	case f.flags&^flagMore != 0 || f.flags != 0 && f.kind != kindCall && f.kind != kindReply:
		return frame{}, badFrame("frame of type %d with flags %#x", f.kind, f.flags)
	case int64(size) > int64(f.kind.limit()):
		return frame{}, badFrame("frame of type %d with %d bytes, over its limit of %d", f.kind, size, f.kind.limit())
	}
	if size == 0 {
		return f, nil
	}
	f.body = make([]byte, size)
	if _, err := io.ReadFull(r, f.body); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	return f, nil
}

// writeFrame writes one frame, whose body is within its limit.
func writeFrame(w io.Writer, f frame) error {
	var h [headerLen]byte
	h[0], h[1] = byte(f.kind), f.flags
	binary.BigEndian.PutUint16(h[2:], f.step)
	binary.BigEndian.PutUint32(h[4:], uint32(len(f.body)))
	if _, err := w.Write(h[:]); err != nil {
		return err
	}
	_, err := w.Write(f.body)
	return err
}

// pack makes a control frame of v.
func pack(k kind, step int, v any) (frame, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return frame{}, err
	}
	if len(body) > maxControl {
		return frame{}, fmt.Errorf("a message of %d bytes is over the limit of %d", len(body), maxControl)
	}
	return frame{kind: k, step: uint16(step), body: body}, nil
}

// unpack reads a control frame's body.
func (f frame) unpack(v any) error {
	if err := json.Unmarshal(f.body, v); err != nil {
		return badFrame("frame of type %d: %v", f.kind, err)
	}
	return nil
}

// maxMessage bounds a message in parts: the manifest of some 100,000 files.
const maxMessage = 32 << 20

// packParts makes the frames of a message that may be larger than one frame.
func packParts(k kind, v any) ([]frame, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(body) > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes is over the limit of %d", len(body), maxMessage)
	}
	var out []frame
	for len(body) > maxControl {
		out = append(out, frame{kind: k, flags: flagMore, body: body[:maxControl]})
		body = body[maxControl:]
	}
	return append(out, frame{kind: k, body: body}), nil
}

// assembler puts the parts of a message together.
type assembler struct{ body []byte }

// add takes a part; whole is true when it was the last one.
func (a *assembler) add(f frame) (msg frame, whole bool, err error) {
	if len(a.body)+len(f.body) > maxMessage {
		return frame{}, false, badFrame("message of type %d over %d bytes", f.kind, maxMessage)
	}
	if f.flags&flagMore != 0 {
		if len(f.body) == 0 {
			return frame{}, false, badFrame("empty part of a message of type %d", f.kind)
		}
		a.body = append(a.body, f.body...)
		return frame{}, false, nil
	}
	if a.body != nil {
		f.body = append(a.body, f.body...)
		a.body = nil
	}
	return f, true, nil
}
