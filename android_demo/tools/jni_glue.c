/* The one native method that ONNX Runtime 1.29's Java classes have and the sources of 1.21's bindings have not.
   Only the tests on a desktop JVM use it; the app ships the bindings of its own ONNX Runtime. */
#include <jni.h>

#include "onnxruntime_c_api.h"

JNIEXPORT jlong JNICALL Java_ai_onnxruntime_OnnxRuntime_initialiseCompileAPIBase(JNIEnv *env, jclass type, jlong api) {
  (void)env;
  (void)type;
  return (jlong)((const OrtApi *)api)->GetCompileApi();
}
