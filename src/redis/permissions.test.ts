import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { neededClusterGrants, neededGrants } from './permissions.js'

const sentinelCommands = new Set(['SENTINEL'])

test('every command in scripts and pipelines is in the list of needed grants', async () => {
  const root = join(import.meta.dirname, '..')
  const files = (await readdir(root, { recursive: true })).filter(
    (file) => file.endsWith('.ts') && !/\.(test|contract|fake|testing)\.ts$/.test(file),
  )
  const sources = await Promise.all(files.map((file) => readFile(join(root, file), 'utf8')))
  const named = sources.flatMap((source) =>
    [...source.matchAll(/\.p?call(?:Buffer)?\(\s*'([A-Z]+)'/g)].map(([, name]) => name),
  )
  expect(named.length).toBeGreaterThan(5)
  const grants = [...neededGrants, ...neededClusterGrants]
  const granted = new Set(grants.map((grant) => /^\+([A-Z]+)/.exec(grant)?.[1]))
  expect(named.filter((name) => name && !granted.has(name) && !sentinelCommands.has(name))).toEqual([])
})
