package devops

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"example.org/conc/jobs"

	"example.org/shop/store"
)

// trial migrates a copy of the node's data, in the bundle, and wants the same
// orders to be in it. The bundle goes when it is closed, and the copy with it.
func trial(_ context.Context, env *jobs.Env) error {
	schema, err := store.SchemaOf(env.Node.Get("version"))
	if err != nil {
		return err
	}
	dir := filepath.Join(env.Bundle, "trial")
	// An earlier try may have left one.
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(env.Path(env.Node.Get("data")))); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return jobs.Blockedf("there are no data to try the migration on: %w", err)
		}
		return err
	}
	before, err := store.Read(dir)
	if err != nil {
		return err
	}
	if _, err := store.Migrate(dir, schema, nil); err != nil {
		return err
	}
	after, err := store.Read(dir)
	if err != nil {
		return err
	}
	if !slices.Equal(before.Orders, after.Orders) {
		return jobs.Failedf("schema %d to %d: the orders are not the same", before.Schema, after.Schema)
	}
	env.Note("schema %d to %d: %d orders are the same", before.Schema, after.Schema, len(after.Orders))
	return nil
}
