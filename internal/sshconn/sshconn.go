// Package sshconn reaches a node over SSH: keys, agent, known hosts, jump
// hosts, deadlines, and a refusal that says what to do.
//
// x/crypto/ssh never notices a peer that has gone silent, so everything here
// rests on deadlines of the connection below it: see wire. Nothing is ever
// trusted on first sight: see hostKeys.
package sshconn

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"
)

// Options is what a connection takes from its surroundings. Home is needed;
// the rest works as zero.
type Options struct {
	Home   string              // whose .ssh is read
	User   string              // the account when neither deploy.ini nor ~/.ssh/config names one; "" is the current user
	Getenv func(string) string // SSH_AUTH_SOCK; nil is os.Getenv
	// Prompt asks for a passphrase, a password or a keyboard-interactive answer,
	// without echo. nil, or an error from it: nobody can be asked.
	Prompt  func(ctx context.Context, question string) (string, error)
	Warn    func(string)  // a line skipped in known_hosts, say; nil is silence
	Connect time.Duration // for one dial with authentication, all hops, time spent at a prompt not counted; 0 is 20 s
	Retry   time.Duration // how long refused dials are tried again, before authentication; 0 is 10 s
	Pool    *Pool         // what is shared with other connections; nil: nothing
	Ways    int           // file channels at a time that Spare and Warm may make of it; 0 is as many as the server has room for

	beat    time.Duration // between keepalives; 0 is 5 s
	silence time.Duration // after which a peer is gone; 0 is 20 s
}

func (o Options) withDefaults() Options {
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	for _, d := range []struct {
		value *time.Duration
		zero  time.Duration
	}{{&o.Connect, 20 * time.Second}, {&o.Retry, 10 * time.Second}, {&o.beat, 5 * time.Second}, {&o.silence, 20 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.zero
		}
	}
	return o
}

// Kind is why a node could not be reached.
type Kind int

// The kinds of Error.
const (
	Unreachable Kind = iota // no connection, or no SSH on it
	UnknownKey              // no key on record for the host
	ChangedKey              // another key on record
	NoAuth                  // the server let us not in, or no key could be used
	Lost                    // it was up, and is gone
)

// Error is the only error that Dial and Conn return for the far end's doing.
// The command line ends with exit code 4 on all kinds but Lost.
type Error struct {
	Kind Kind
	Err  error
	Hint string // may have several lines
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func errorf(kind Kind, hint, format string, args ...any) *Error {
	return &Error{Kind: kind, Hint: hint, Err: fmt.Errorf(format, args...)}
}

// said shows what a peer wrote: bounded, and with every byte that a terminal
// could act on escaped.
func said(p []byte) string {
	const most = 200
	text := strings.TrimRight(string(p), "\r\n\x00 ")
	more := ""
	if len(text) > most {
		text, more = text[:most], "…"
	}
	return fmt.Sprintf("%+q", text) + more
}
