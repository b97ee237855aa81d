package cli

import (
	"context"

	"example.org/conc/config"
	"example.org/conc/jobs"
	"example.org/conc/nodetest"
	"example.org/conc/runner"
)

// withSuites plans the checks that go with each task. All that is wrong with any
// of them is told at once, as config.Problems.
func (p *program) withSuites(f *config.File, tasks []task) error {
	var problems config.Problems
	for i, t := range tasks {
		suite, err := p.checks().Plan(f, t.node, "")
		if err != nil {
			problems = appendNew(problems, asProblems(f, err))
			continue
		}
		tasks[i].suite = &suite
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// secretsOf looks up all that the checks stand on, before anything is done, and
// gives the names.
func (w *wave) secretsOf(ctx context.Context, suite *nodetest.Suite) ([]string, error) {
	if suite == nil {
		return nil, nil
	}
	for _, name := range suite.Secrets() {
		if _, err := w.secrets.lookup(ctx, name); err != nil {
			return nil, err
		}
	}
	return suite.Secrets(), nil
}

// testOf has the checks of a suite made on the node of a run.
func testOf(suite nodetest.Suite) runner.Test {
	return func(ctx context.Context, node runner.Remote, report func(nodetest.Result)) error {
		asked, ok := node.(nodetest.Caller)
		if !ok {
			return jobs.Errorf("the node cannot be asked for checks")
		}
		return suite.RunOn(ctx, asked, nodetest.Options{}, report)
	}
}
