// Which packages a process loads when it starts.
import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'

const source = join(import.meta.dirname, '../../src')

/**
 * Packages that a file imports statically, directly or through its imports. Type imports do not count,
 * because dist does not contain them.
 */
async function packagesOf(file: string, seen = new Set<string>()): Promise<Set<string>> {
  const packages = new Set<string>()
  if (seen.has(file)) return packages
  seen.add(file)
  const text = await readFile(file, 'utf8')
  const statements = text.matchAll(/^(?:import|export)\s+(?!type\b)[^'";]*?(?:from\s+)?'(?<name>[^']+)'/gms)
  for (const { groups } of statements) {
    const name = groups?.['name'] ?? ''
    if (!name.startsWith('.')) packages.add(name)
    else if (name.endsWith('.js')) {
      const next = join(dirname(file), name.replace(/\.js$/, '.ts'))
      for (const found of await packagesOf(next, seen)) packages.add(found)
    }
  }
  return packages
}

test('only the controller command loads the Kubernetes client', async () => {
  const start = await packagesOf(join(source, 'cli/main.ts'))
  expect([...start]).toContain('ioredis')
  expect([...start]).not.toContain('@kubernetes/client-node')
  expect([...(await packagesOf(join(source, 'cli/controller/run.ts')))]).toContain('@kubernetes/client-node')
})
