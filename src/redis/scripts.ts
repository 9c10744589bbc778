// Lua scripts that run inside Redis: how a script is named, loaded on a connection and added to a pipeline.
import { createHash } from 'node:crypto'
import type { ChainableCommander } from 'ioredis'
import type { LiveRedis } from './link.js'

export interface Script {
  readonly lua: string
  readonly sha: string
}

export type Pipeline = ChainableCommander

export type Argument = string | number | Buffer

export function script(lua: string): Script {
  return { lua, sha: createHash('sha1').update(lua).digest('hex') }
}

/**
 * Loads the scripts on a new connection: later pipelines name them by their hash only. Throws the first error
 * reply.
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
