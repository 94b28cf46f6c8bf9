import { ThreadWorker } from "poolifier";
import { double, noop } from "./tasks.ts";

export default new ThreadWorker<number, number | void>({
  noop,
  double: (x) => double(x!),
});
