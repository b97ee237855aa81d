package config

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestNear(t *testing.T) {
	t.Parallel()
	tests := []struct {
		word       string
		candidates []string
		want       []string
	}{
		{"adimn", []string{"bundle", "admin"}, []string{"admin"}},
		{"open_bundel", []string{"close_bundle", "open_bundle"}, []string{"open_bundle"}},
		{"web", []string{"web1", "web2", "db1"}, []string{"web1", "web2"}},
		{"web2", []string{"web3", "web2x", "web2", "wab2", "wob2"}, []string{"web2", "web3", "web2x"}},
		{"date", []string{"name"}, nil},
		{"RUN", []string{"run"}, []string{"run"}},
		{"büro", []string{"buro"}, []string{"buro"}},
		{"", []string{"a", "abc"}, []string{"a"}},
		{"x", nil, nil},
	}
	for _, tt := range tests {
		if got := Near(tt.word, tt.candidates); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.word, got, tt.want)
		}
	}
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"a", "a", 0}, {"port", "prot", 1}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"ca", "abc", 3}, {"ü", "u", 1},
	} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("%s, %s: got %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
	word := rapid.StringOfN(rapid.SampledFrom([]rune("abü")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		d := distance(a, b)
		if back := distance(b, a); d != back || (d == 0) != (a == b) || d > max(len([]rune(a)), len([]rune(b))) {
			t.Fatalf("%s, %s: got %d, back %d", a, b, d, back)
		}
	})
}
