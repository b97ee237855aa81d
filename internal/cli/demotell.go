package cli

import (
	"fmt"
	"io"
	"path"
	"strings"

	"example.org/conc/internal/testnode"
	"example.org/conc/internal/ui"
)

// demoTeller says what the demo does, around what the deploy itself shows.
type demoTeller struct {
	w       io.Writer
	name    string // of the program
	typed   string // and how it was started
	project demoProject
	options demoOptions
}

func (s demoTeller) printf(format string, args ...any) { _, _ = fmt.Fprintf(s.w, format, args...) }

// before says what is about to be seen.
func (s demoTeller) before() {
	s.printf("A throwaway node is serving SSH at %s; its home is\n  %s\n", s.project.node.Addr, ui.Line(s.project.node.Home))
	s.printf("The project to deploy to it is %s,\nwhose list of steps is\n\n", ui.Line(s.project.path("deploy.ini")))
	for _, l := range demoList(s.project.ini) {
		s.printf("  %s\n", l.text)
	}
	s.printf("\n$ %s deploy %s\n", s.name, demoNode)
}

// after shows what the deploy has left on the node.
func (s demoTeller) after(code int) error {
	list, err := testnode.Tree(s.project.node.Home)
	if err != nil {
		return err
	}
	s.printf("\nNow on the node:\n\n")
	open := false
	for _, entry := range list {
		if entry == ".conc/" {
			s.printf("  .conc/   (what %s keeps there for itself)\n", s.name)
		}
		if strings.HasPrefix(entry, ".conc/") {
			continue
		}
		open = open || entry == "site-bundle/"
		s.printf("  %s\n", ui.Line(indented(entry)))
	}
	switch {
	case open:
		s.printf("\nThe bundle, site-bundle, is still there: it is the lock, and what was delivered.\n")
	case code == exitOK:
		s.printf("\nThe bundle, site-bundle, is gone: the node is free for the next change.\n")
	default:
		s.printf("\nThere is no bundle, site-bundle, on it: the node is free for the next change.\n")
	}
	if s.options.keep != "" {
		return nil
	}
	s.printf("The throwaway node is gone now, and so are the project and the log")
	if code != exitOK {
		s.printf(".\nThe commands above were for a node that stays")
	}
	demo := s.typed + " demo"
	next := [][2]string{
		{demo + " --fail-at check", "a step that fails, and what to do then"},
		{demo + " --keep play", "a node that stays, to type commands of your own"},
		{s.typed + " init", "a deploy.ini for a node of your own"},
	}
	if s.options.failAt != "" {
		next = next[1:]
		next[0][0] = demo + " --keep play --fail-at " + quote(s.options.failAt)
	}
	s.printf(". Next:\n\n")
	s.commands(next)
	return nil
}

// commands lists what to type, and what it is for.
func (s demoTeller) commands(list [][2]string) {
	for _, l := range list {
		s.printf("  # %s\n  %s\n", l[1], l[0])
	}
}

// indented gives an entry of a tree's list as a line of the tree's picture.
func indented(entry string) string {
	name, target, link := strings.Cut(entry, " -> ")
	above, base := path.Split(strings.TrimSuffix(name, "/"))
	base = strings.Repeat("  ", strings.Count(above, "/")) + base
	if link {
		return base + " -> " + target
	}
	return base + strings.TrimPrefix(name, strings.TrimSuffix(name, "/"))
}

// serving says what to type in another terminal.
func (s demoTeller) serving() {
	s.printf("\nThe node serves on until Ctrl-C. In another terminal:\n\n")
	s.commands([][2]string{
		{". " + quote(s.project.path("env")), "be the operator of this node, in the project's directory"},
		{s.name + " plan " + demoNode + " --by-hand", "what a deploy would do, as shell lines"},
		{s.name + " deploy " + demoNode + " --set version=1.1", "the next release"},
		{s.name + " deploy " + demoNode, "and back"},
		{s.name + " nodetest " + demoNode, "whether it is as it should be"},
	})
	if s.options.failAt != "" {
		s.printf("\nBefore a deploy, mend step %s in\n%s,\nand type the unlock line above, if there is one.\n",
			ui.Line(s.options.failAt), ui.Line(s.project.path("deploy.ini")))
	}
}

// kept says what stays.
func (s demoTeller) kept() {
	s.printf("\nThe node is gone. Its home and the project stay in %s.\n", ui.Line(s.project.dir))
}
