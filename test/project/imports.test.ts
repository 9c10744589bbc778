// Which packages a process loads when it starts.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { relativeImports } from '../../scripts/docs/import-graph.mjs'

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

/** The files that each file imports by a static or dynamic import, types included. */
async function importsOf(folder: string): Promise<Map<string, string[]>> {
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('.ts'))
  const entries = names.map(async (name) => {
    const file = join(folder, name)
    const paths = relativeImports(await readFile(file, 'utf8'))
    const imported = paths.map((path) => join(dirname(file), path.replace(/\.js$/, '.ts')))
    return [file, imported] as const
  })
  return new Map(await Promise.all(entries))
}

/** The files of one circle of imports, in order; undefined when there is no circle. */
function findCircle(imports: ReadonlyMap<string, readonly string[]>): string[] | undefined {
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (done.has(file)) return undefined
    for (const next of imports.get(file) ?? []) {
      const circle = visit(next, [...path, file])
      if (circle) return circle
    }
    done.add(file)
    return undefined
  }
  for (const file of imports.keys()) {
    const circle = visit(file, [])
    if (circle) return circle
  }
  return undefined
}

// The lint rule import/no-cycle does not see dynamic imports.
test('no imports form a circle, type imports and dynamic imports included', async () => {
  const imports = await importsOf(source)
  expect(imports.size).toBeGreaterThan(300)
  expect(findCircle(imports)).toBeUndefined()
})

test('a circle with a dynamic import is found', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'parley-imports-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  await writeFile(join(folder, 'a.ts'), "import type { B } from './b.js'\nexport type A = B\n")
  await writeFile(join(folder, 'b.ts'), "export type B = 1\nexport const c = () => import('./c.js')\n")
  expect(findCircle(await importsOf(folder))).toBeUndefined()
  await writeFile(join(folder, 'c.ts'), "export * from './a.js'\n")
  expect(findCircle(await importsOf(folder))).toEqual(
    ['a.ts', 'b.ts', 'c.ts', 'a.ts'].map((name) => join(folder, name)),
  )
})
