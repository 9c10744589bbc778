// src/kube is a library for any Kubernetes controller. It receives the names of this product as options, and
// contains none of them as constants.
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { relativeImports } from '../../scripts/docs/import-graph.mjs'

const room = join(import.meta.dirname, '../../src/kube')
const names = (await readdir(room)).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))

describe.each(names)('src/kube/%s', (name) => {
  test('does not name Parley or one of its kinds', async () => {
    const text = await readFile(join(room, name), 'utf8')
    expect(text.match(/parley|tenant|\bplans?\b|chat(?:tenant|plan|credential)/gi) ?? []).toEqual([])
  })

  test('imports its own files, leaves and packages only', async () => {
    const text = await readFile(join(room, name), 'utf8')
    const imported = relativeImports(text)
    expect(imported.filter((path) => !/^\.\.?\/[\w.-]+\.js$/.test(path))).toEqual([])
  })
})

test('the room has files', () => {
  expect(names).toContain('ports.ts')
})
