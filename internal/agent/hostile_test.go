package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/pkg/sftp"
)

// script is a Transport to a peer that says what a test wants it to say.
type script struct {
	say func(nonce string, in io.Reader, out io.Writer)
}

func (s *script) Warm(int)                                        {}
func (s *script) Ready()                                          {}
func (s *script) Keep(c *sftp.Client)                             { _ = c.Close() }
func (s *script) Spare(ctx context.Context) (*sftp.Client, error) { return s.SFTP(ctx) }
func (s *script) SFTP(context.Context) (*sftp.Client, error)      { return nil, errors.New("no files here") }

func (s *script) Start(context.Context, string) (Proc, error) {
	p := &scriptProc{over: make(chan struct{})}
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	p.in, p.out = inW, outR
	go func() {
		defer close(p.over)
		f, err := readFrame(inR)
		var h clientHello
		if err == nil && f.unpack(&h) == nil {
			go func() { _, _ = io.Copy(io.Discard, inR) }()
			s.say(h.Nonce, inR, outW)
		}
		outW.Close()
		inR.Close()
	}()
	return p, nil
}

type scriptProc struct {
	in   *io.PipeWriter
	out  *io.PipeReader
	over chan struct{}
}

func (p *scriptProc) Stdin() io.WriteCloser { return p.in }
func (p *scriptProc) Stdout() io.Reader     { return p.out }
func (p *scriptProc) Stderr() io.Reader     { return strings.NewReader("") }
func (p *scriptProc) Wait() error           { <-p.over; return nil }
func (p *scriptProc) Close() error          { return errors.Join(p.in.Close(), p.out.Close()) }

// say writes frames, and ignores that nobody may be listening any more.
func say(w io.Writer, frames ...frame) {
	for _, f := range frames {
		_ = writeFrame(w, f)
	}
}

func body(k kind, step int, v any) frame {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return frame{kind: k, step: uint16(step), body: data}
}

// up shakes hands as an agent would.
func up(nonce, hash string, w io.Writer) {
	_, _ = w.Write(marker(nonce))
	say(w, body(kindHello, 0, Hello{Hash: hash, Home: "/home/deploy"}), frame{kind: kindReady})
}

// untilGone waits until the workstation says nothing any more.
func untilGone(in io.Reader) { _, _ = io.Copy(io.Discard, in) }

func TestHostileStart(t *testing.T) {
	hash, err := hashes.of(self(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		say  func(nonce string, in io.Reader, out io.Writer)
		want string // in the error; "" is none
	}{
		{"correct", func(n string, in io.Reader, w io.Writer) { up(n, hash, w); untilGone(in) }, ""},
		{"noise of 64 KiB", func(n string, in io.Reader, w io.Writer) {
			_, _ = w.Write(bytes.Repeat([]byte("x"), maxNoise))
			up(n, hash, w)
			untilGone(in)
		}, ""},
		{"noise of a byte more", func(n string, _ io.Reader, w io.Writer) {
			_, _ = w.Write(bytes.Repeat([]byte("x"), maxNoise+1))
			up(n, hash, w)
		}, "prints too much"},
		{"endless noise without a newline", func(_ string, _ io.Reader, w io.Writer) {
			for {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}, "prints too much"},
		{"an echo of what it is told", func(n string, in io.Reader, w io.Writer) {
			say(w, body(kindHello, 0, clientHello{V: 1, Nonce: n}))
			_, _ = io.WriteString(w, "\x01conc-agent/1 "+n+"\n")
			untilGone(in)
		}, "within 300ms"},
		{"silence", func(_ string, in io.Reader, _ io.Writer) { untilGone(in) }, "within 300ms"},
		{"half a handshake", func(n string, in io.Reader, w io.Writer) {
			_, _ = w.Write(marker(n))
			untilGone(in)
		}, "within 300ms"},
		{"another program", func(n string, _ io.Reader, w io.Writer) { up(n, strings.Repeat("0", 64), w) }, "not what was sent"},
		{"a huge frame", func(n string, _ io.Reader, w io.Writer) {
			_, _ = w.Write(marker(n))
			_, _ = w.Write([]byte{byte(kindHello), 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
		}, "over its limit"},
		{"an unknown frame", func(n string, _ io.Reader, w io.Writer) {
			_, _ = w.Write(marker(n))
			say(w, frame{kind: 99})
		}, "unknown type"},
		{"ready before hello", func(n string, _ io.Reader, w io.Writer) {
			_, _ = w.Write(marker(n))
			say(w, frame{kind: kindReady})
		}, "before the greeting"},
		{"a home that is not absolute", func(n string, _ io.Reader, w io.Writer) {
			_, _ = w.Write(marker(n))
			say(w, body(kindHello, 0, Hello{Hash: hash, Home: "../.."}))
		}, "home directory"},
		{"an error to paint the screen with", func(n string, _ io.Reader, w io.Writer) {
			_, _ = w.Write(marker(n))
			say(w, body(kindErr, 0, errBody{Message: "\x1b[2J\x1b]52;c;AAAA\x07 no\nline"}))
		}, `\x1b[2J\x1b]52;c;AAAA\x07 no; line`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			node, plan := plan(t, nil, "remote say a")
			o := options(t, node, plan)
			if tc.want == "within 300ms" {
				o.Timeout = 300 * time.Millisecond
			}
			c, err := Start(t.Context(), &script{tc.say}, o)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				_ = c.Close()
				return
			}
			var start *StartError
			if !errors.As(err, &start) || !strings.Contains(err.Error(), tc.want) || strings.ContainsAny(err.Error(), "\x1b\x07\n") {
				t.Errorf("got %v, want a StartError with %q", err, tc.want)
			}
		})
	}
}

// After the handshake a node can say only what may come now; all else ends the
// conversation, and whoever waits is told.
func TestHostileRun(t *testing.T) {
	hash, err := hashes.of(self(t))
	if err != nil {
		t.Fatal(err)
	}
	begin := func(n int) frame { return frame{kind: kindBegin, step: uint16(n)} }
	end := func(n int, status string) frame {
		return body(kindEnd, n, map[string]any{"result": map[string]any{"step": n, "status": status}})
	}
	for _, tc := range []struct {
		name   string
		frames []frame
		heard  string
		step   int // that LostError names
	}{
		{"a step out of order", []frame{begin(2)}, "", 0},
		{"a step of no number", []frame{begin(0)}, "", 0},
		{"a step beyond the run", []frame{begin(1), end(1, "OK"), begin(2), end(2, "OK"), begin(3)}, "begin 1, end 1 OK, begin 2, end 2 OK", 0},
		{"a step after a failed one", []frame{begin(1), end(1, "FAILED"), begin(2)}, "begin 1, end 1 FAILED", 0},
		{"an end without a begin", []frame{end(1, "OK")}, "", 0},
		{"an end twice", []frame{begin(1), end(1, "OK"), end(1, "OK")}, "begin 1, end 1 OK", 0},
		{"an end of another", []frame{begin(1), end(2, "OK")}, "begin 1", 1},
		{"an unknown status", []frame{begin(1), end(1, "FINE")}, "begin 1", 1},
		{"output of another", []frame{begin(1), {kind: kindOut, step: 2, body: []byte("x")}}, "begin 1", 1},
		{"over in the middle", []frame{begin(1), {kind: kindRan}}, "begin 1", 1},
		{"not JSON", []frame{begin(1), {kind: kindEnd, step: 1, body: []byte("{")}}, "begin 1", 1},
		{"a reply to nothing", []frame{body(kindReply, 0, replyBody{ID: 7})}, "", 0},
		{"a frame for the agent", []frame{body(kindRun, 0, runBody{1, 1})}, "", 0},
		{"hello again", []frame{body(kindHello, 0, Hello{Home: "/"})}, "", 0},
		{"gone in a step", []frame{begin(1)}, "begin 1", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			node, plan := plan(t, nil, "remote say a", "remote say b", "remote say c")
			start := make(chan struct{})
			c := dial(t, &script{func(n string, _ io.Reader, w io.Writer) {
				up(n, hash, w)
				<-start
				say(w, tc.frames...)
			}}, options(t, node, plan))
			sink := newHeard()
			over := make(chan error, 1)
			go func() { over <- c.RunSteps(t.Context(), 1, 2, sink) }()
			soon(t, "the run", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.stretch != nil })
			close(start)
			var lost *LostError
			if err := <-over; !errors.As(err, &lost) || lost.Step != tc.step {
				t.Errorf("got %v, want it lost in step %d", err, tc.step)
			}
			if got := sink.text(); got != tc.heard {
				t.Errorf("heard: got %q, want %q", got, tc.heard)
			}
			if _, err := c.Held(t.Context()); !errors.As(err, &lost) {
				t.Errorf("a call after it: got %v, want lost", err)
			}
			if c.Err() == nil || c.Stop() == nil {
				t.Error("Err and Stop: got nil, want the reason")
			}
		})
	}
}

// A peer that goes silent, and one that is gone, end every call that waits.
func TestSilence(t *testing.T) {
	hash, err := hashes.of(self(t))
	if err != nil {
		t.Fatal(err)
	}
	node, plan := plan(t, nil, "remote say a")
	o := options(t, node, plan)
	o.pulse = pulse{20 * time.Millisecond, time.Second}
	hang := make(chan struct{})
	defer close(hang)
	c := dial(t, &script{func(n string, _ io.Reader, w io.Writer) {
		up(n, hash, w)
		<-hang
	}}, o)
	errs := make(chan error, 2)
	go func() { errs <- c.RunSteps(t.Context(), 1, 1, newHeard()) }()
	go func() { _, err := c.Held(t.Context()); errs <- err }()
	for range 2 {
		var lost *LostError
		select {
		case err := <-errs:
			if !errors.As(err, &lost) || !strings.Contains(err.Error(), "nothing heard from web1") {
				t.Errorf("got %v, want lost: nothing heard", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("a call still waits")
		}
	}
	t.Run("the caller leaves", func(t *testing.T) {
		c := dial(t, &script{func(n string, _ io.Reader, w io.Writer) { up(n, hash, w); <-hang }}, options(t, node, plan))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.RunSteps(ctx, 1, 1, newHeard()); !errors.Is(err, context.Canceled) {
			t.Errorf("RunSteps: got %v, want %v", err, context.Canceled)
		}
		if _, err := c.Held(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Held: got %v, want %v", err, context.Canceled)
		}
		if _, err := Start(ctx, newPipes(t), options(t, node, plan)); !errors.Is(err, context.Canceled) {
			t.Errorf("Start: got %v, want %v", err, context.Canceled)
		}
	})
}

// What a client should never say ends an agent, and moves nothing.
func TestHostileClient(t *testing.T) {
	hello := body(kindHello, 0, clientHello{V: protocol, Nonce: "00"})
	for _, tc := range []struct {
		name string
		in   []frame
		want string
	}{
		{"no greeting", []frame{{kind: kindRun}}, "before the greeting"},
		{"another version", []frame{body(kindHello, 0, clientHello{V: 9, Nonce: "00"})}, "version 9"},
		{"a run without a plan", []frame{hello, body(kindRun, 0, runBody{1, 1})}, "without a plan"},
		{"a call without a configuration", []frame{hello, body(kindCall, 0, callBody{ID: 1, Method: callUnlock})}, "before the configuration"},
		{"a run id that is a path", []frame{hello, body(kindConfig, 0, map[string]any{"node": "n", "owner": map[string]string{"run": "../../x"}, "specs": []map[string]any{{"name": "x"}}})}, "not a run's id"},
		{"a result", []frame{hello, {kind: kindRan}}, "frame of type"},
		{"configured twice", []frame{hello, body(kindConfig, 0, configBody{Node: "n"}), body(kindConfig, 0, configBody{Node: "n"})}, "configured twice"},
		{"goodbye", []frame{hello, {kind: kindBye}}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var in, out bytes.Buffer
			say(&in, tc.in...)
			s := &Server{Program: program(), Home: t.TempDir()}
			err := s.Serve(t.Context(), &in, &out)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func FuzzReadFrame(f *testing.F) {
	var seed bytes.Buffer
	say(&seed, body(kindHello, 0, clientHello{V: 1, Nonce: "00"}), frame{kind: kindCall, flags: flagMore, body: []byte("x")})
	f.Add(seed.Bytes())
	f.Add([]byte{byte(kindOut), 0, 0, 1, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		var a assembler
		for {
			at := len(data) - r.Len()
			fr, err := readFrame(r)
			if err != nil {
				return
			}
			if len(fr.body) > fr.kind.limit() {
				t.Fatalf("a body of %d bytes for a frame of type %d", len(fr.body), fr.kind)
			}
			var back bytes.Buffer
			_ = writeFrame(&back, fr)
			if !bytes.Equal(back.Bytes(), data[at:len(data)-r.Len()]) {
				t.Fatal("written back, it is another frame")
			}
			_, _, _ = a.add(fr)
			_, _ = unpackEnd(fr)
		}
	})
}

// FuzzServe gives an agent whatever frames: it must end, and not panic.
func FuzzServe(f *testing.F) {
	var seed bytes.Buffer
	say(&seed, body(kindHello, 0, clientHello{V: 1, Nonce: "00"}), body(kindConfig, 0, configBody{Node: "n"}),
		body(kindCall, 0, callBody{ID: 1, Method: callHeld}), frame{kind: kindBye})
	f.Add(seed.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &Server{Program: program(), Home: t.TempDir()}
		_ = s.Serve(t.Context(), bytes.NewReader(data), io.Discard)
	})
}

func TestMessageInParts(t *testing.T) {
	want := strings.Repeat("0123456789", 100_000)
	parts, err := packParts(kindCall, want)
	if err != nil || len(parts) < 4 {
		t.Fatalf("got %d parts, %v", len(parts), err)
	}
	var a assembler
	for i, p := range parts {
		msg, whole, err := a.add(p)
		if err != nil || whole != (i == len(parts)-1) {
			t.Fatalf("part %d: got whole %v, %v", i, whole, err)
		}
		var got string
		if whole && (msg.unpack(&got) != nil || got != want) {
			t.Error("it is not what was sent")
		}
	}
	endless := frame{kind: kindReply, flags: flagMore, body: make([]byte, maxControl)}
	for i := 0; ; i++ {
		if _, _, err := a.add(endless); err != nil {
			break
		}
		if i > maxMessage/maxControl {
			t.Fatal("an endless message is taken")
		}
	}
}

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"plain é 世":        "plain é 世",
		" a\r\nb\tc\n":     "a; b c",
		"\x1b[2J":          `\x1b[2J`,
		"\xff\x00":         `\xff\x00`,
		"\u202ee\u0085vil": `\u202ee\u0085vil`,
		"a\rb":             `a\x0db`,
	} {
		if got := clean(in, 100); got != want {
			t.Errorf("clean(%q): got %q, want %q", in, got, want)
		}
	}
	if got := clean(strings.Repeat("x", 1000), 10); got != "xxxxxxxxxx [...]" {
		t.Errorf("long: got %q", got)
	}
}
