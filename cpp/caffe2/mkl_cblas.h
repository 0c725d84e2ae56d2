/// In the place of MKL's header, of which Caffe2's headers need this name alone.
#pragma once

enum CBLAS_TRANSPOSE { CblasNoTrans = 111, CblasTrans = 112, CblasConjTrans = 113 };
