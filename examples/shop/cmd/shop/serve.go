package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"example.org/shop/store"
)

// shop is the service: some orders, and how they are seen from outside.
type shop struct {
	conf conf

	mu    sync.Mutex // guards store, which is not safe for concurrent use
	store *store.Store
}

// serve serves until it is sent TERM.
func serve(confName string) error {
	c, err := readConf(confName)
	if err != nil {
		return err
	}
	schema, err := store.SchemaOf(release)
	if err != nil {
		return err
	}
	s, err := store.Open(c.Data, schema)
	if err != nil {
		return err
	}
	defer s.Close()
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM, os.Interrupt)
	go func() {
		<-end
		l.Close()
	}()
	server := &http.Server{Handler: (&shop{conf: c, store: s}).handler(), ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second}
	fmt.Println("release", release, "listens on", c.Listen)
	if err := server.Serve(l); len(end) == 0 && !isClosed(err) {
		return err
	}
	return nil
}

func isClosed(err error) bool {
	return err == nil || strings.Contains(err.Error(), net.ErrClosed.Error())
}

func (s *shop) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", s.health)
	mux.HandleFunc("GET /orders", s.list)
	mux.HandleFunc("POST /orders", s.add)
	return mux
}

// health is what a deploy waits for, and what the checks of a node look at.
func (s *shop) health(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(w, "ok release=%s schema=%d orders=%d other=%s\n", release, s.store.Schema, len(s.store.Orders), s.conf.Other)
}

func (s *shop) list(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.store.Orders)
}

func (s *shop) add(w http.ResponseWriter, r *http.Request) {
	var o store.Order
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&o); err != nil || o.Item == "" || o.Cents < 0 {
		http.Error(w, "want an item and its price in cents", http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.store.Add(o.Item, o.Cents)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(o)
}
