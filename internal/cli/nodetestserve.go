package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"example.org/conc/internal/ui"
	"example.org/conc/jobs"
)

// metrics serves the nodes' last results. It is safe for concurrent use.
type metrics struct {
	addr   string // where it listens
	server *http.Server
	work   sync.WaitGroup

	mu   sync.Mutex
	last []*ui.Examined // by node; nil: not examined yet
	runs int            // that came to their end
	at   time.Time      // when the last one did
}

// listenAddr reads where to listen: a port alone is one of this host's own.
func listenAddr(s string) (string, error) {
	if !strings.Contains(s, ":") {
		s = ":" + s
	}
	host, port, err := net.SplitHostPort(s)
	if n, bad := strconv.Atoi(port); err != nil || bad != nil || n < 0 || n > 65535 {
		return "", usageError{fmt.Errorf("--listen %s: it is [HOST:]PORT", s), "for this host only: --listen 9650; for all: --listen 0.0.0.0:9650"}
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}

// The limits of the server: what it has to give is small, and made at once.
const (
	requestLimit = 10 * time.Second
	idleLimit    = time.Minute
	headerLimit  = 16 << 10
	closeLimit   = 2 * time.Second
)

// serve begins to serve. The caller closes what it returns.
func (x *examination) serve(at string) (*metrics, error) {
	addr, err := listenAddr(at)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, jobs.Errorf("--listen %s: %w", at, err).WithHint("another program may have the port: name another one")
	}
	m := &metrics{addr: l.Addr().String(), last: make([]*ui.Examined, len(x.nodes))}
	m.server = &http.Server{
		Handler: m, ReadTimeout: requestLimit, WriteTimeout: requestLimit, IdleTimeout: idleLimit,
		MaxHeaderBytes: headerLimit, ErrorLog: log.New(io.Discard, "", 0),
	}
	m.work.Go(func() {
		if err := m.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			x.warn("nothing is served any more: " + err.Error())
		}
	})
	return m, nil
}

// close ends the server: answers that have begun are given.
func (m *metrics) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	if m.server.Shutdown(ctx) != nil {
		_ = m.server.Close()
	}
	m.work.Wait()
}

// tell takes in what came of a node.
func (m *metrics) tell(i int, e ui.Examined) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.Status() != jobs.Stopped { // it says nothing of the node
		m.last[i] = &e
	}
}

// counted takes in that an examination of all nodes is over.
func (m *metrics) counted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.runs++
	m.at = time.Now()
}

// ServeHTTP answers for /metrics and /healthz, and nothing else.
func (m *metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var make func() []byte
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	switch r.URL.Path {
	case "/metrics":
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		make = m.exposition
	case "/healthz":
		make = m.health
	default:
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(make())
}

func (m *metrics) exposition() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []ui.Examined
	for _, e := range m.last {
		if e != nil {
			all = append(all, *e)
		}
	}
	return fmt.Appendf(ui.Prometheus(all), `# HELP conc_nodetest_runs_total Examinations of all nodes that came to their end.
# TYPE conc_nodetest_runs_total counter
conc_nodetest_runs_total %d
`, m.runs)
}

// health says that the program is at work; whether the nodes are as they should
// be is not its business.
func (m *metrics) health() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.runs == 0 {
		return []byte("ok: the first run is under way\n")
	}
	return fmt.Appendf(nil, "ok: %s, the last one ended %s\n", ui.Count(m.runs, "run"), m.at.UTC().Format(time.RFC3339))
}
