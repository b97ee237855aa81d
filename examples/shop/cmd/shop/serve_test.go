package main

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"example.org/shop/store"
)

func TestService(t *testing.T) {
	s, err := store.Open(t.TempDir(), 2)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := (&shop{store: s}).handler()
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/health", "", 200, "ok release=1.1 schema=2 orders=0"},
		{"POST", "/orders", `{"Item":"tea","Cents":350}`, 201, `{"ID":1,"Item":"tea","Cents":350}`},
		{"POST", "/orders", `{"Cents":350}`, 400, "want an item"},
		{"POST", "/orders", `{"Item":"tea","Cents":-1}`, 400, "want an item"},
		{"GET", "/orders", "", 200, `[{"ID":1,"Item":"tea","Cents":350}]`},
		{"GET", "/health", "", 200, "orders=1"},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
		body, _ := io.ReadAll(w.Result().Body)
		if w.Code != tt.status || !strings.Contains(string(body), tt.want) {
			t.Errorf("%s %s %s: got %d %s, want %d %s", tt.method, tt.path, tt.body, w.Code, body, tt.status, tt.want)
		}
	}
}
