// Helpers for Lua scripts: they compute the hash of a script, load it on a connection and add calls to a
// pipeline.
import { createHash } from 'node:crypto'
import type { ChainableCommander } from 'ioredis'
import type { LiveRedis } from './link.js'

/** A Lua script with its SHA-1 hash, by which EVALSHA names it. */
export interface Script {
  readonly lua: string
  readonly sha: string
}

export type Pipeline = ChainableCommander

/** An argument of a script. */
export type Argument = string | number | Buffer

/** Creates a script from its source. */
export function script(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}

/**
 * Loads the scripts on a new connection, because later pipelines send only their hashes. Throws the first
 * error reply.
 */
export async function loadScripts(live: LiveRedis, scripts: readonly Script[]): Promise<void> {
  const pipeline = live.client.pipeline()
  for (const { lua } of scripts) pipeline.script('LOAD', lua)
  for (const reply of await live.run(pipeline)) if (reply instanceof Error) throw reply
}

/**
 * Adds a call of the script to the pipeline. Replies are Buffers, since payloads are bytes. The types of
 * ioredis have no `evalshaBuffer` for pipelines.
 */
export function addScript(
  pipeline: Pipeline,
  { sha }: Script,
  call: { keys: readonly string[]; args: readonly Argument[] },
): void {
  pipeline.callBuffer('EVALSHA', sha, call.keys.length, ...call.keys, ...call.args)
}
