package devops

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"example.org/conc"
	"example.org/conc/config"
	"example.org/conc/jobs"

	"example.org/shop/store"
)

// FailAfter is an attribute for trying what happens when a migration fails: so
// many orders are migrated, and then it does.
const FailAfter = "migrate.fail_after"

// Migrate brings the shop's data to the schema of a release, newer or older. The
// tags say how a line of deploy.ini fills it in.
type Migrate struct {
	Data    string `conc:"DATA"` // the data directory; relative: in the node's home
	Release string `conc:"RELEASE"`
}

func migrateEntry() jobs.Entry {
	e := conc.Op("migrate", "bring the shop's data to the schema of a release", Migrate{})
	e.Help = `RELEASE may be newer or older than the one that wrote the data. They are replaced
as a whole: a reader sees the old ones or the new ones.

BLOCKED: the shop is running. FAILED: an order cannot be read; nothing is changed.`
	e.Example = "remote timeout=10m migrate %(data)s %(version)s"
	return e
}

// Validate looks at the release before anything is connected to.
func (m Migrate) Validate() error {
	_, err := store.SchemaOf(m.Release)
	return err
}

// Do migrates. It runs on the node: this program is there, with store in it.
func (m Migrate) Do(ctx context.Context, env *jobs.Env) error {
	schema, err := store.SchemaOf(m.Release)
	if err != nil {
		return err
	}
	limit, err := strconv.Atoi(env.Node.Get(FailAfter))
	if err != nil {
		limit = -1
	}
	n, err := store.Migrate(env.Path(m.Data), schema, func(done int) error {
		if done == limit {
			return errors.New(FailAfter + " says so")
		}
		return ctx.Err() // the operator's Ctrl-C, or the step's time limit
	})
	if errors.Is(err, store.ErrInUse) {
		return jobs.Blockedf("%w", err).WithHint("is the shop still running? nothing was changed")
	}
	if err != nil {
		return err
	}
	env.Note("%d orders rewritten, schema %d", n, schema)
	return nil
}

// Verify looks whether the data have the schema.
func (m Migrate) Verify(_ context.Context, env *jobs.Env) error {
	schema, err := store.SchemaOf(m.Release)
	if err != nil {
		return err
	}
	d, err := store.Read(env.Path(m.Data))
	if err == nil && d.Schema != schema {
		err = fmt.Errorf("the data have schema %d, want %d", d.Schema, schema)
	}
	return err
}

// ByHand is what a person types on the node.
func (m Migrate) ByHand(n *config.Node) []string {
	return []string{fmt.Sprintf("%s/bin/shop migrate %s %s", n.Get("release"), m.Data, m.Release)}
}

// Repeatable says that it may be run again, which store.Migrate keeps: data that
// have the schema are left alone. A test holds it to that.
func (m Migrate) Repeatable() {}
