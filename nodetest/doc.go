// Package nodetest will hold the checks that run on a node after a deploy.
package nodetest
