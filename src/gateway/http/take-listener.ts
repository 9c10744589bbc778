// Takes over an event from the listener that Node's HTTP server has registered.
import type { EventEmitter } from 'node:events'

type Listener = (this: unknown, argument: unknown) => void

/**
 * Removes and returns the only listener of the event, which takes one argument. Throws when there is none, or
 * another one, because a version of Node has changed how its server works.
 */
export function takeListener(emitter: EventEmitter, event: string): Listener {
  const [listener, ...others] = emitter.listeners(event)
  if (!isListener(listener) || others.length > 0)
    throw new Error(`Node's HTTP server does not listen to "${event}" as expected`)
  emitter.off(event, listener)
  return listener
}

function isListener(listener: unknown): listener is Listener {
  return typeof listener === 'function'
}
