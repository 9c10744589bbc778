// Finds kubectl, with which the end-to-end tests access their cluster.
import { join } from 'node:path'
import { locateKubeAssets } from './kube-assets.mjs'
import { onPath } from './needs.mjs'

/**
 * Returns the path of kubectl; undefined when there is none.
 * @returns {Promise<string | undefined>}
 */
export async function locateKubectl() {
  const found = await onPath(['kubectl'])
  if (found) return found
  const folder = await locateKubeAssets()
  return folder && join(folder, 'kubectl')
}
