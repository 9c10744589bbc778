// A real API server takes what the chart renders: every field known, every pod restricted.
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { kubeStartMsMax, KubeServer } from '../support/kube-apiserver.js'
import { namespace } from '../support/kube-parley.js'
import { examples, pods, render, root, type Tree } from './rendering.js'

/** What others' CRDs define, which are not there. */
const foreign = /^(keda\.sh|gateway\.networking\.k8s\.io|monitoring\.coreos\.com)\//

const restricted = { 'pod-security.kubernetes.io/enforce': 'restricted' }

let server: KubeServer

beforeAll(async () => {
  server = await KubeServer.start()
  await server.client.create(namespace('chat', restricted))
  const metadata = { name: 'default', namespace: 'chat' }
  await server.client.create({ apiVersion: 'v1', kind: 'ServiceAccount', metadata })
}, kubeStartMsMax)

afterAll(() => server.stop())

describe.each([['defaults', {}] as [string, Tree], ...(await examples())])('%s', (_name, values) => {
  test('is taken, field by field', async () => {
    for (const object of await render(values))
      if (!foreign.test(object.apiVersion)) await server.client.create(object, { dryRun: true })
  })

  test('makes pods that a restricted namespace lets in', async () => {
    for (const { metadata, spec } of pods(await render(values))) {
      // Here nobody makes volumes of claims, and there are neither the release's accounts nor classes.
      const { serviceAccountName: _account, priorityClassName: _class, ...rest } = spec
      const claims = rest.containers.some(({ volumeMounts = [] }: Tree) =>
        volumeMounts.some(({ name }: Tree) => !rest.volumes.some((volume: Tree) => volume.name === name)),
      )
      const volumes = [...(rest.volumes ?? []), ...(claims ? [{ name: 'data', emptyDir: {} }] : [])]
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'pod', namespace: 'chat', labels: metadata.labels },
        spec: { ...rest, volumes, automountServiceAccountToken: false },
      }
      await server.client.create(pod, { dryRun: true })
    }
  })
})

test('a pod that is not restricted would have been refused', async () => {
  const spec = { containers: [{ name: 'c', image: 'i' }], automountServiceAccountToken: false }
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'pod', namespace: 'chat' }, spec }
  await expect(server.client.create(pod, { dryRun: true })).rejects.toThrow(/PodSecurity "restricted/)
})

test('manifests/install is applied by kubectl as it is', async () => {
  const folder = join(root, 'manifests/install')
  const output = await server.kubectl(['apply', '--server-side', '-k', folder])
  expect(output).toContain('deployment.apps/parley-gateway serverside-applied')
  expect(output).toContain('customresourcedefinition.apiextensions.k8s.io/chattenants.parley.chat')
})
