// The API server of the tests, on which all other tests in this folder depend.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { KubeServer, kubeStartMsMax } from '../support/kube-apiserver.js'
import { until } from '../support/redis-processes.js'

let server: KubeServer

beforeAll(async () => {
  server = await KubeServer.start({ users: { anna: ['developers'] } })
}, kubeStartMsMax)
afterAll(async () => server?.stop())

const configMap = (name: string) => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name, namespace: 'default' },
  data: { greeting: 'hello' },
})

test('stores objects', async () => {
  await server.client.create(configMap('kept'))
  expect(await server.client.get({ ...configMap('kept'), namespace: 'default', name: 'kept' })).toMatchObject(
    {
      data: { greeting: 'hello' },
    },
  )
})

test('refuses unknown fields', async () => {
  await expect(server.client.create({ ...configMap('odd'), dada: {} })).rejects.toThrow(
    'unknown field "dada"',
  )
})

test('authenticates users by token and authorizes them by RBAC', async () => {
  await expect(server.kubectl(['get', 'configmaps'], { as: 'anna' })).rejects.toThrow(
    'User "anna" cannot list',
  )
  await server.kubectl(['create', 'clusterrole', 'reader', '--verb=get,list', '--resource=configmaps'])
  await server.kubectl(['create', 'clusterrolebinding', 'devs', '--clusterrole=reader', '--group=developers'])
  // The server applies a new role after a short delay.
  await until('the right to list', async () => server.kubectl(['get', 'configmaps'], { as: 'anna' }))
})

test('impersonates the user that a test names', async () => {
  await expect(server.client.as('bert').create(configMap('berts'))).rejects.toThrow(
    'User "bert" cannot create resource "configmaps"',
  )
})

test('issues tokens for service accounts', async () => {
  const kubeconfig = await server.kubeconfigOfServiceAccount('default', 'robot')
  const review = await server.kubectl(['auth', 'whoami', '-o', 'json', '--kubeconfig', kubeconfig])
  expect(JSON.parse(review).status.userInfo.username).toBe('system:serviceaccount:default:robot')
})

test(
  'restarts on the same address with the same data',
  async () => {
    await server.client.apply(configMap('survivor'))
    await server.killApiServer()
    await server.startApiServer()
    expect(
      await server.client.find({
        apiVersion: 'v1',
        kind: 'ConfigMap',
        namespace: 'default',
        name: 'survivor',
      }),
    ).toBeDefined()
  },
  kubeStartMsMax,
)
