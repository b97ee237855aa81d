package conctest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"example.org/conc"
	"example.org/conc/conctest"
	"example.org/conc/jobs"
)

// app is a small deploy program: a list in Go, and one op beside the stock ones.
var app = conc.App{
	Name: "shop-deploy",
	Lists: map[string]jobs.List{"release": {
		{Name: "open", Host: jobs.Remote, Op: jobs.OpenBundle{}},
		{Name: "migrate", Host: jobs.Remote, Op: jobs.OpFunc(migrate)},
		{Name: "restart", Host: jobs.Remote, Op: jobs.Run{Args: []string{"systemctl", "restart", "shop"}}},
		{Name: "tell", Host: jobs.Local, Op: jobs.Run{Args: []string{"announce", "shop"}}},
		{Name: "close", Host: jobs.Remote, Op: jobs.CloseBundle{}},
	}},
}

// migrate brings the schema from 1 to 2.
func migrate(_ context.Context, env *jobs.Env) error {
	path := filepath.Join(env.Home, "shop", "schema")
	was, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if string(was) != "1" {
		return jobs.Failedf("the schema is %q, not 1", was)
	}
	fmt.Fprintln(env.Out, "1 -> 2")
	return os.WriteFile(path, []byte("2"), 0o644)
}

func TestMain(m *testing.M) { conctest.Main(m, app) }

// before is a node with release 1 on it.
func before() conctest.State {
	return conctest.State{
		Files: map[string]conctest.File{"shop/schema": {Content: "1"}},
		Stubs: map[string]conctest.Stub{"systemctl": {}, "announce": {}},
	}
}
