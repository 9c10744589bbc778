// The Python example, and that it is tried with the versions that it names.
import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { locatePythonClients } from '../../scripts/python-clients.mjs'
import { backendContract } from '../examples/backend.contract.js'

const python = await locatePythonClients()
if (python === undefined) throw new Error('the Python clients are not here: npm run test:sdk fetches them')

backendContract('examples/python-backend', [python, 'python-backend/server.py'])

test('the example names the versions that the tests install', async () => {
  const read = async (path: string): Promise<string[]> =>
    (await readFile(new URL(`../../${path}`, import.meta.url), 'utf8')).trim().split('\n')
  expect(await read('test/sdk/python/requirements.txt')).toEqual(
    expect.arrayContaining(await read('examples/python-backend/requirements.txt')),
  )
})
