package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"

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
	// It listens before it takes the data: who sees that it has them can rely on both.
	l, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return err
	}
	defer l.Close()
	s, err := store.Open(c.Data, schema)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println("release", release, "listens on", c.Listen)
	server := &http.Server{Handler: (&shop{conf: c, store: s}).handler(), ReadTimeout: patience, WriteTimeout: patience}
	told, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		<-told.Done()
		ctx, cancel := context.WithTimeout(context.Background(), patience/2)
		defer cancel()
		ended <- server.Shutdown(ctx)
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-ended
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
