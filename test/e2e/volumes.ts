// Volumes for the embedded Redis: of the cluster's default StorageClass, or folders of a node where there is none (one-node clusters).
import { apply, kubectl, list } from './cluster.js'
import { tenantNamespaces } from './tenants.js'

const storageClassName = 'parley-e2e'
const folder = '/var/tmp/parley-e2e-volumes'
const count = 3
const [workplace] = tenantNamespaces
const labels = { 'app.kubernetes.io/part-of': storageClassName }

/** Values of `redis.embedded.persistence`. */
export async function makeVolumes(): Promise<object> {
  const size = '1Gi'
  const classes = await list('storageclasses')
  const isDefault = ({ metadata }: (typeof classes)[number]) =>
    (metadata['annotations'] as Record<string, string> | undefined)?.[
      'storageclass.kubernetes.io/is-default-class'
    ] === 'true'
  if (classes.some(isDefault)) return { enabled: true, size }

  await inFolder(`rm -rf ${folder}/* && cd ${folder} && mkdir 0 1 2 && chmod 777 0 1 2`)
  await apply(
    ...Array.from({ length: count }, (_, index) => ({
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: `parley-e2e-${index}`, labels },
      spec: {
        storageClassName,
        capacity: { storage: size },
        accessModes: ['ReadWriteOnce'],
        persistentVolumeReclaimPolicy: 'Retain',
        hostPath: { path: `${folder}/${index}` },
      },
    })),
  )
  return { enabled: true, size, storageClassName }
}

/** Also those of an earlier run. Their claims must be gone. */
export async function removeVolumes(): Promise<void> {
  const selector = `--selector=app.kubernetes.io/part-of=${storageClassName}`
  if ((await list('persistentvolumes', selector)).length === 0) return
  await kubectl(['delete', 'persistentvolumes', selector, '--timeout=120s'])
}

/** Folders belong to root, and Redis is another: a pod that may write there makes them. */
async function inFolder(script: string): Promise<void> {
  const name = 'volume-maker'
  const place = ['--namespace', workplace]
  await apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: workplace },
    spec: {
      restartPolicy: 'Never',
      securityContext: { runAsUser: 0 },
      containers: [
        {
          name,
          image: process.env['PARLEY_REDIS_IMAGE'] ?? 'docker.io/library/redis:7.2-bookworm',
          command: ['sh', '-c', script],
          volumeMounts: [{ name: 'folder', mountPath: folder }],
        },
      ],
      volumes: [{ name: 'folder', hostPath: { path: folder, type: 'DirectoryOrCreate' } }],
    },
  })
  await kubectl([
    'wait',
    '--for=jsonpath={.status.phase}=Succeeded',
    `pod/${name}`,
    '--timeout=120s',
    ...place,
  ])
  await kubectl(['delete', `pod/${name}`, ...place])
}
