// Tests the Node example, with the package versions that its package.json names.
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { backendContract } from './backend.contract.js'

backendContract('examples/node-backend', [process.execPath, 'node-backend/server.js'])

test('the example names the package versions that the tests use', async () => {
  const read = async (path: string): Promise<Record<'dependencies' | 'devDependencies', object>> =>
    JSON.parse(await readFile(new URL(`../../${path}`, import.meta.url), 'utf8'))
  const { dependencies, devDependencies } = await read('package.json')
  const named = (await read('examples/node-backend/package.json')).dependencies
  expect({ ...dependencies, ...devDependencies }).toMatchObject(named)
})
